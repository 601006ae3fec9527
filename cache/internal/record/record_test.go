package record_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/mirrorfs/mirrorfs/cache/internal/record"
	"pgregory.net/rapid"
)

func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r")
	rapid.Check(t, func(rt *rapid.T) {
		payload := rapid.SliceOf(rapid.Byte()).Draw(rt, "payload")
		if err := record.Write(path, "k/1", payload, rapid.Bool().Draw(rt, "sync")); err != nil {
			rt.Fatal(err)
		}
		got, err := record.Read(path, "k/1")
		if err != nil || !bytes.Equal(got, payload) {
			rt.Fatalf("got %q, %v, want %q", got, err, payload)
		}
	})
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Fatalf("files left beside the record: %v, %v", left, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v, want 0600", info.Mode(), err)
	}
}

func TestMissingIsNotCorrupt(t *testing.T) {
	_, err := record.Read(filepath.Join(t.TempDir(), "none"), "k/1")
	if !errors.Is(err, fs.ErrNotExist) || errors.Is(err, record.ErrCorrupt) {
		t.Fatalf("got %v, want ErrNotExist", err)
	}
}

// Whatever single byte is altered, wherever the file is cut, and whatever is
// appended, the record is refused.
func TestDamageIsFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r")
	if err := record.Write(path, "k/1", []byte("the payload"), false); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, content []byte) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := record.Read(path, "k/1"); !errors.Is(err, record.ErrCorrupt) {
			t.Errorf("%s: got %q, %v, want ErrCorrupt", what, got, err)
		}
	}
	for i := range whole {
		altered := bytes.Clone(whole)
		altered[i] ^= 0x40
		refused("altered byte", altered)
		refused("cut", whole[:i])
	}
	refused("appended", append(bytes.Clone(whole), 0))
	refused("empty", nil)

	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := record.Read(path, "k/2"); !errors.Is(err, record.ErrCorrupt) {
		t.Errorf("another kind: got %v, want ErrCorrupt", err)
	}
}

func FuzzRead(f *testing.F) {
	path := filepath.Join(f.TempDir(), "seed")
	if err := record.Write(path, "k/1", []byte("seed"), false); err != nil {
		f.Fatal(err)
	}
	seed, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "r")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := record.Read(path, "k/1"); err == nil && !bytes.Contains(content, got) {
			t.Fatalf("payload %q does not stand in the file", got)
		}
	})
}
