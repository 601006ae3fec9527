package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// Verified is the outcome of verifying one file.
type Verified struct {
	Path  string
	Bytes int64 // read and compared; 0 when there is no checksum to compare with
	Err   error // what is wrong with it; it was given up, unless it could not be opened
}

// errDamaged says that a file on disk is not what was fetched.
type errDamaged struct{ off int64 }

func (e errDamaged) Error() string {
	return fmt.Sprintf("the bytes from %d on are not those that were fetched", e.off)
}

// Verify reads again what is held and compares it with the checksums that were
// recorded when it was fetched. Only whole files have them. What is damaged is
// given up, to be fetched again when it is wanted. report is called for each
// file that is held, from the caller's goroutine.
func (s *Store) Verify(ctx context.Context, report func(Verified)) error {
	for _, f := range s.all() {
		if err := ctx.Err(); err != nil {
			return err
		}
		f.mu.Lock()
		use := f.gone == nil && f.onDisk
		if use {
			f.refs++
		}
		f.mu.Unlock()
		if !use {
			continue
		}
		v, err := f.verifySums(ctx)
		switch {
		case v.Err == nil:
		case unopened(v.Err):
			s.log.Warn("a file of the cache could not be verified", "path", f.path, "error", v.Err)
		default:
			s.log.Error("a file of the cache is damaged and will be fetched again", "path", f.path, "error", v.Err)
			f.lose()
		}
		f.release()
		if err != nil {
			return err
		}
		report(v)
	}
	return nil
}

// unopened reports whether err kept a file from being looked at, which says
// nothing about its content.
func unopened(err error) bool {
	var p *fs.PathError
	return errors.As(err, &p) && p.Op == "open" && !errors.Is(err, errMismatch)
}

// verifySums compares one file. The error is ctx's.
func (f *file) verifySums(ctx context.Context) (Verified, error) {
	v := Verified{Path: f.path}
	if v.Err = f.openData(); v.Err != nil {
		return v, nil
	}
	f.mu.Lock()
	want, data, epoch := f.sums, f.data, f.epoch
	f.mu.Unlock()
	if v.Err = checkSize(data, f.size); v.Err != nil || len(want) == 0 {
		return v, nil
	}
	got, err := checksums(data, f.size, ctx.Done())
	if ctx.Err() != nil {
		return v, ctx.Err()
	}
	f.mu.Lock()
	same := f.epoch == epoch
	f.mu.Unlock()
	switch {
	case !same: // given up meanwhile
	case err != nil:
		v.Err = err
	default:
		for i := int64(0); i < blocks(f.size); i++ {
			if !bytes.Equal(got[i*sumSize:][:sumSize], want[i*sumSize:][:sumSize]) {
				v.Err = errDamaged{i * blockSize}
				break
			}
		}
		v.Bytes = f.size
	}
	return v, nil
}
