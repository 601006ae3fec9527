package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// fixture is a mirror's true content, from which real folders and ftptest's
// trees are made.
type fixture struct {
	files []file
	dirs  []string // empty ones
	root  string   // where disk has written it
}

// file is the truth about one file. The path is raw bytes.
type file struct {
	path    string
	content ftptest.Content
	mtime   time.Time
}

// epoch is the modification time of files whose time does not matter: older
// than six months, so that listings show the day alone.
var epoch = time.Date(2024, 3, 9, 14, 25, 36, 0, time.UTC)

func (f *fixture) add(path string, c ftptest.Content) { f.addAt(path, c, epoch) }

func (f *fixture) addAt(path string, c ftptest.Content, mtime time.Time) {
	f.files = append(f.files, file{path, c, mtime})
}

func (f *fixture) text(path, content string) { f.add(path, ftptest.Bytes([]byte(content))) }

// size is the sum of all files.
func (f *fixture) size() int64 {
	var n int64
	for _, file := range f.files {
		n += file.content.Size()
	}
	return n
}

// disk writes the fixture below a new folder that any user may read, and that
// lasts until the test ends; subtests get their parent's.
func (f *fixture) disk(t testing.TB) string {
	t.Helper()
	if f.root != "" {
		return f.root
	}
	root := filepath.Join(sandbox(t), "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	f.diskAt(t, root)
	f.root = root
	t.Cleanup(func() { f.root = "" })
	return root
}

func (f *fixture) diskAt(t testing.TB, root string) {
	t.Helper()
	for _, d := range f.dirs {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 1<<20)
	for _, file := range f.files {
		if err := file.write(root+"/"+file.path, buf); err != nil {
			t.Fatal(err)
		}
	}
}

func (f *file) write(path string, buf []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if h, ok := f.content.(headed); ok {
		return h.sparse(path, f.mtime)
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	src := io.NewSectionReader(f.content, 0, f.content.Size())
	_, err = io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{src}, buf)
	return errors.Join(err, out.Close(), os.Chtimes(path, f.mtime, f.mtime))
}

// tree makes the fixture a tree of an ftptest server.
func (f *fixture) tree() *ftptest.Tree {
	tree := ftptest.NewTree()
	for _, d := range f.dirs {
		tree.Mkdir(d, epoch)
	}
	for _, file := range f.files {
		tree.Put(file.path, ftptest.Entry{Content: file.content, ModTime: file.mtime})
	}
	return tree
}

// sum is the content's SHA-256 in hex.
func sum(t testing.TB, c ftptest.Content) string {
	t.Helper()
	h := sha256.New()
	if _, err := io.CopyBuffer(struct{ io.Writer }{h}, io.NewSectionReader(c, 0, c.Size()), make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// sumFile is the SHA-256 in hex of what a path holds.
func sumFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// same compares what a path holds with the truth.
func same(t testing.TB, path string, want ftptest.Content) {
	t.Helper()
	got, err := sumFile(path)
	if err != nil {
		t.Error(err)
	} else if w := sum(t, want); got != w {
		t.Errorf("%s: other bytes than on the server: sha256 %s, want %s", path, got, w)
	}
}

// sameRange compares n bytes at off of an open file with the truth.
func sameRange(t testing.TB, f *os.File, want ftptest.Content, off int64, n int) {
	t.Helper()
	got, truth := make([]byte, n), make([]byte, n)
	if _, err := want.ReadAt(truth, off); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	if k, err := f.ReadAt(got, off); k != n || err != nil && err != io.EOF {
		t.Fatalf("%s: read of %d bytes at %d: %d bytes, %v", f.Name(), n, off, k, err)
	}
	if !bytes.Equal(got, truth) {
		t.Fatalf("%s: other bytes than on the server in the %d at %d", f.Name(), n, off)
	}
}

// manifest is every file below dir with its size and SHA-256, and every folder.
func manifest(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		if !e.Type().IsRegular() {
			fmt.Fprintf(&b, "%v %q\n", e.Type(), rel)
			return nil
		}
		s, err := sumFile(path)
		fmt.Fprintf(&b, "%s %q\n", s, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// headed is content of zeros after a head of its own: cheap on disk in any
// number.
type headed struct {
	size int64
	head ftptest.Content
}

func (h headed) Size() int64 { return h.size }

func (h headed) ReadAt(p []byte, off int64) (int, error) {
	if off >= h.size {
		return 0, io.EOF
	}
	var err error
	if left := h.size - off; int64(len(p)) > left {
		p, err = p[:left], io.EOF
	}
	clear(p)
	if off < h.head.Size() {
		if _, herr := h.head.ReadAt(p[:min(int64(len(p)), h.head.Size()-off)], off); herr != nil && herr != io.EOF {
			return 0, herr
		}
	}
	return len(p), err
}

// sparse writes the file with a hole for its zeros.
func (h headed) sparse(path string, mtime time.Time) error {
	head := make([]byte, h.head.Size())
	if _, err := h.head.ReadAt(head, 0); err != nil && err != io.EOF {
		return err
	}
	return errors.Join(os.WriteFile(path, head, 0o644), os.Truncate(path, h.size), os.Chtimes(path, mtime, mtime))
}
