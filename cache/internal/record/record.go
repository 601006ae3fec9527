// Package record keeps small pieces of state on disk so that a crash or a bad
// disk costs at most the piece it hit.
//
// A record is one file: a header (magic, kind, payload length, SHA-256 of kind
// and payload) and the payload. It is replaced as a whole, by writing a
// temporary file beside it and renaming that into place, so a reader sees the
// old record or the new one. Without sync the new one may be lost, or be found
// torn, after a power failure; the checksum tells, and a torn record reads as
// ErrCorrupt, never as data.
package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const (
	magic = "mirrorfs1\n"
	// MaxPayload bounds what Read accepts, so that noise in the length field
	// can't make it allocate without bound.
	MaxPayload = 1 << 30
	tmpPrefix  = ".tmp-"
)

// ErrCorrupt says that a file is not the record it should be.
var ErrCorrupt = errors.New("damaged record")

// Write replaces the record at path. kind names the payload's format and
// version; Read must be given the same. With sync the record survives a power
// failure once Write has returned.
func Write(path, kind string, payload []byte, sync bool) (err error) {
	if len(payload) > MaxPayload {
		return fmt.Errorf("record %s: payload of %d bytes is too large", path, len(payload))
	}
	f, err := os.CreateTemp(filepath.Dir(path), tmpPrefix+"*") // made 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(header(kind, payload)); err != nil {
		return err
	}
	if _, err = f.Write(payload); err != nil {
		return err
	}
	if sync {
		if err = f.Sync(); err != nil {
			return err
		}
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	if sync {
		return syncDir(filepath.Dir(path))
	}
	return nil
}

// Read returns the payload of the record at path. The error Is fs.ErrNotExist
// when there is none, and ErrCorrupt when the file is not an intact record of
// that kind.
func Read(path, kind string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	want := header(kind, nil)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(f, got); err != nil {
		return nil, short(err, path, "its header is cut short")
	}
	prefix := len(magic) + 2 + len(kind)
	if !bytes.Equal(got[:prefix], want[:prefix]) {
		return nil, corrupt(path, "it is not of kind "+kind)
	}
	n := binary.BigEndian.Uint64(got[prefix:])
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if n > MaxPayload || int64(n) != info.Size()-int64(len(got)) {
		return nil, corrupt(path, "its length is wrong")
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(f, payload); err != nil {
		return nil, short(err, path, "it is cut short")
	}
	if sum := checksum(kind, payload); !bytes.Equal(sum[:], got[prefix+8:]) {
		return nil, corrupt(path, "its checksum does not match")
	}
	return payload, nil
}

// IsTemp reports whether name is that of a temporary file which a crash in the
// middle of Write left behind.
func IsTemp(name string) bool { return strings.HasPrefix(filepath.Base(name), tmpPrefix) }

// short tells a file that ended too early, which is damage, from a disk that
// could not be read.
func short(err error, path, why string) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return corrupt(path, why)
	}
	return err
}

func corrupt(path, why string) error { return fmt.Errorf("%s: %w: %s", path, ErrCorrupt, why) }

func checksum(kind string, payload []byte) [sha256.Size]byte {
	h := sha256.New()
	io.WriteString(h, kind+"\n")
	h.Write(payload)
	return [sha256.Size]byte(h.Sum(nil))
}

// header is magic, length of kind (2 bytes), kind, length of payload (8), sum.
func header(kind string, payload []byte) []byte {
	b := []byte(magic)
	b = binary.BigEndian.AppendUint16(b, uint16(len(kind)))
	b = append(b, kind...)
	b = binary.BigEndian.AppendUint64(b, uint64(len(payload)))
	sum := checksum(kind, payload)
	return append(b, sum[:]...)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
