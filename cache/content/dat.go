package content

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// openData makes sure that the .dat of a file that is held on disk is open. A
// .dat that is not what the record says is an error.
func (f *file) openData() error {
	f.record.Lock()
	defer f.record.Unlock()
	f.mu.Lock()
	need := f.onDisk && f.data == nil
	f.mu.Unlock()
	if !need {
		return nil
	}
	data, err := openDat(f.store.file(f.base(), datExt))
	if err != nil {
		return err
	}
	if err := checkSize(data, f.size); err != nil {
		data.Close()
		return err
	}
	f.mu.Lock()
	f.data = data
	f.mu.Unlock()
	return nil
}

// openDat opens a .dat, for reading only on a disk that may not be written: what
// is held can be read there, and writing fails as it does on a full disk. One
// that is gone, something else, or beyond the disk to read is an errMismatch.
func openDat(name string) (*os.File, error) {
	data, err := os.OpenFile(name, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission) {
		data, err = os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	}
	for _, e := range []error{fs.ErrNotExist, syscall.ELOOP, syscall.EISDIR, syscall.EIO} {
		if errors.Is(err, e) {
			return nil, fmt.Errorf("%w: %w", errMismatch, err)
		}
	}
	return data, err
}

func checkSize(data *os.File, size int64) error {
	info, err := data.Stat()
	if err == nil && info.Size() != size {
		err = fmt.Errorf("%w: %s has %d bytes, not %d", errMismatch, data.Name(), info.Size(), size)
	}
	return err
}

// makeData makes the .dat when the first bytes come.
func (f *file) makeData() (*os.File, error) {
	f.mu.Lock()
	data, gone := f.data, f.gone
	f.mu.Unlock()
	if data != nil || gone != nil {
		return data, gone
	}
	return f.createData()
}

// createData is makeData once there seemed to be no .dat. Whether the file is
// gone is asked under record, or one that was erased meanwhile would leave a
// .dat behind.
func (f *file) createData() (*os.File, error) {
	f.record.Lock()
	defer f.record.Unlock()
	f.mu.Lock()
	data, gone := f.data, f.gone
	f.mu.Unlock()
	if data != nil || gone != nil {
		return data, gone
	}
	name := f.store.file(f.base(), datExt)
	data, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := data.Truncate(f.size); err != nil {
		data.Close()
		os.Remove(name)
		return nil, err
	}
	f.mu.Lock()
	f.data, f.onDisk = data, true
	f.blocks += metaCost
	f.mu.Unlock()
	f.store.room.used.Add(metaCost)
	return data, nil
}
