package content

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mirrorfs/mirrorfs/cache/internal/record"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// onDisk returns the only file with that extension.
func onDisk(t testing.TB, dir, ext string) string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*"+ext))
	if err != nil || len(list) != 1 {
		t.Fatalf("files %v, %v, want one", list, err)
	}
	return list[0]
}

func names(t testing.TB, dir string) []string {
	t.Helper()
	list, err := readNames(dir)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// held makes a cache that holds a whole file and is closed.
func held(t testing.TB, r *remote, o Options, path string) *remoteFile {
	t.Helper()
	f := r.add(path, 2*mib+100)
	s, err := Open(o, r)
	if err != nil {
		t.Fatal(err)
	}
	h, err := s.Open(t.Context(), 0, path, f.version())
	if err != nil {
		t.Fatal(err)
	}
	checkAll(t, h, f)
	waitWhole(t, h)
	h.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return f
}

// After a restart of the machine only what was synced is trusted.
func TestBoots(t *testing.T) {
	r := newRemote(2)
	o := options(t)
	f := held(t, r, o, "f")
	large := r.add("large", 100*mib)
	s := openStore(t, o, r)
	h := openFile(t, s, "large", large.version())
	check(t, h, large, 10*mib, worthSealing)
	h.Close()
	eventually(t, "what came is durable", func() bool {
		g := h.file
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.durable.contains(span{10 * mib, 10*mib + worthSealing})
	})
	h = openFile(t, s, "large", large.version())
	check(t, h, large, 50*mib, 4096)
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	// As kill -9 leaves it, and then the machine starts anew.
	crashed := copyDir(t, o.Dir)
	s.Close()

	r.setDown(errReset)
	o.Dir, o.bootID, o.RetryFor = crashed, "the next boot", 0
	s = openStore(t, o, r)
	h = openFile(t, s, "f", f.version())
	checkAll(t, h, f)
	if _, ok := h.Whole(); !ok {
		t.Error("a synced whole file is not whole any more")
	}
	h = openFile(t, s, "large", large.version())
	check(t, h, large, 10*mib, 4096)
	if _, err := h.ReadAt(t.Context(), make([]byte, 4096), 50*mib); !errors.Is(err, errReset) {
		t.Errorf("bytes that were never synced are trusted: %v", err)
	}
}

func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// Whatever is done to the files between two mounts costs itself, never a wrong
// byte, and is cleaned up.
func TestDamageBetweenMounts(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, dat, meta string) error{
		"record cut":       func(_ *testing.T, _, meta string) error { return os.Truncate(meta, 30) },
		"record empty":     func(_ *testing.T, _, meta string) error { return os.Truncate(meta, 0) },
		"record noise":     func(_ *testing.T, _, meta string) error { return os.WriteFile(meta, []byte("noise"), 0o600) },
		"record gone":      func(_ *testing.T, _, meta string) error { return os.Remove(meta) },
		"content gone":     func(_ *testing.T, dat, _ string) error { return os.Remove(dat) },
		"content cut":      func(_ *testing.T, dat, _ string) error { return os.Truncate(dat, 1000) },
		"content longer":   func(_ *testing.T, dat, _ string) error { return os.Truncate(dat, 5*mib) },
		"content a folder": func(_ *testing.T, dat, _ string) error { return errors.Join(os.Remove(dat), os.Mkdir(dat, 0o700)) },
		"content a symlink": func(_ *testing.T, dat, _ string) error {
			return errors.Join(os.Remove(dat), os.Symlink("/etc/passwd", dat))
		},
		"another file's record": func(t *testing.T, dat, meta string) error {
			payload, err := record.Read(meta, metaKind)
			if err != nil {
				return err
			}
			m, err := decodeMeta(payload)
			if err != nil {
				return err
			}
			m.Path = []byte("another")
			payload, _ = m.encode()
			return record.Write(meta, metaKind, payload, false)
		},
		"a file of ours, misnamed": func(t *testing.T, dat, meta string) error {
			return errors.Join(os.Rename(meta, filepath.Join(filepath.Dir(meta), "x.meta")), os.Remove(dat))
		},
		"left over by a crash": func(t *testing.T, dat, meta string) error {
			return errors.Join(os.Remove(meta), os.WriteFile(filepath.Join(filepath.Dir(meta), ".tmp-1"), nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemote(2)
			o := options(t)
			f := held(t, r, o, "f")
			if err := damage(t, onDisk(t, o.Dir, datExt), onDisk(t, o.Dir, metaExt)); err != nil {
				t.Fatal(err)
			}
			s := openStore(t, o, r)
			if left := names(t, o.Dir); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
			if got := s.Stats().Used; got != 0 {
				t.Errorf("%d bytes are counted as used", got)
			}
			h := openFile(t, s, "f", f.version())
			checkAll(t, h, f)
		})
	}
}

// Damage while a file is open or known is found when it is read.
func TestDamageWhileMounted(t *testing.T) {
	for name, damage := range map[string]func(dat string) error{
		"cut":  func(dat string) error { return os.Truncate(dat, 5000) },
		"gone": os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemote(2)
			o := options(t)
			f := r.add("f", 2*mib)
			s := openStore(t, o, r)
			h := openFile(t, s, "f", f.version())
			checkAll(t, h, f)
			waitWhole(t, h)
			eventually(t, "it is sealed", func() bool { return sealed(h.file) })
			if err := damage(onDisk(t, o.Dir, datExt)); err != nil {
				t.Fatal(err)
			}
			checkAll(t, h, f)
			h.Close()
			h = openFile(t, s, "f", f.version())
			checkAll(t, h, f)
		})
	}
}

func sealed(f *file) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.sums) > 0
}

// Bytes that were altered on the disk are found by Verify, and by the transfer
// that continues a file.
func TestAlteredBytes(t *testing.T) {
	r := newRemote(2)
	o := options(t)
	f := held(t, r, o, "f")
	g := held(t, r, o, "g")
	s := openStore(t, o, r)
	verify := func() (bad []string, read int64) {
		err := s.Verify(t.Context(), func(v Verified) {
			read += v.Bytes
			if v.Err != nil {
				bad = append(bad, fmt.Sprint(v.Path, ": ", v.Err))
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return bad, read
	}
	eventually(t, "both are sealed", func() bool {
		bad, read := verify()
		return len(bad) == 0 && read == f.size+g.size
	})
	dat, err := os.OpenFile(s.file(s.files["g"][0].base(), datExt), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer dat.Close()
	b := g.bytes(mib+500, 1)
	b[0] ^= 1
	if _, err := dat.WriteAt(b, mib+500); err != nil {
		t.Fatal(err)
	}
	bad, _ := verify()
	if len(bad) != 1 || !strings.Contains(bad[0], "g: the bytes from 1048576 on") {
		t.Errorf("found %q", bad)
	}
	h := openFile(t, s, "g", g.version())
	checkAll(t, h, g)
}

// The newest version that is held wins over older ones, and the server decides
// between a listing and what is held.
func TestVersions(t *testing.T) {
	at := func(size, min, max int64) listing.Version {
		return listing.Version{Size: size, MTime: listing.Interval{Min: min, Max: max}}
	}
	setup := func(t *testing.T) (*remote, *Store, *changes, *remoteFile) {
		r := newRemote(2)
		var told changes
		o := options(t)
		o.Changed = told.note
		f := held(t, r, o, "f")
		return r, openStore(t, o, r), &told, f
	}
	stats := func(r *remote) int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.stats
	}
	t.Run("a rougher or shifted time is the same", func(t *testing.T) {
		r, s, _, f := setup(t)
		before := stats(r)
		for _, v := range []listing.Version{at(f.size, f.mtime-60, f.mtime+60), {Size: f.size, MTime: listing.Anytime()}} {
			if st := s.State("f", v); !st.Whole {
				t.Errorf("%v is not what is held: %+v", v, st)
			}
			checkAll(t, openFile(t, s, "f", v), f)
		}
		if stats(r) != before || len(r.retrs("f")) != 1 {
			t.Error("the server was asked")
		}
	})
	t.Run("the listing is right", func(t *testing.T) {
		r, s, _, f := setup(t)
		g := &remoteFile{seed: 99, size: f.size, mtime: f.mtime + 100}
		r.replace("f", g)
		h := openFile(t, s, "f", g.version())
		if st := s.State("f", f.version()); st.Held != 0 {
			t.Error("the old content is still held")
		}
		checkAll(t, h, g)
	})
	t.Run("the listing is wrong", func(t *testing.T) {
		_, s, told, f := setup(t)
		if _, err := s.Open(t.Context(), 0, "f", at(f.size, 1, 2)); !errors.Is(err, ErrChanged) {
			t.Fatalf("got %v, want ErrChanged", err)
		}
		if e, n := told.last(); n != 1 || e.Version() != f.version() {
			t.Errorf("told %d times, last %v", n, e)
		}
		h := openFile(t, s, "f", f.version())
		if _, ok := h.Whole(); !ok {
			t.Error("what was held is lost")
		}
	})
	t.Run("nobody can say", func(t *testing.T) {
		r, s, _, f := setup(t)
		r.setDown(errReset)
		h := openFile(t, s, "f", at(f.size, 1, 2))
		if h.file.held.total() != 0 {
			t.Error("content of another version is served")
		}
		h.Close()
		h = openFile(t, s, "f", f.version())
		checkAll(t, h, f)
	})
	t.Run("it is gone", func(t *testing.T) {
		r, s, _, f := setup(t)
		r.replace("f", nil)
		if _, err := s.Open(t.Context(), 0, "f", at(f.size, 1, 2)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v, want ErrNotExist", err)
		}
	})
}

// A whole file that was handed out keeps its bytes when it leaves the cache.
func TestWholeOutlivesTheIndex(t *testing.T) {
	r := newRemote(2)
	f := r.add("f", 2*mib)
	s := openStore(t, options(t), r)
	h := openFile(t, s, "f", f.version())
	checkAll(t, h, f)
	waitWhole(t, h)
	s.drop(h.file, &Failure{Path: "f", Err: ErrChanged})
	h2 := openFile(t, s, "f", f.version())
	if h2.Generation() == h.Generation() {
		t.Error("a generation was used twice")
	}
	whole, ok := h.Whole()
	if !ok {
		t.Fatal("not whole any more")
	}
	p := make([]byte, f.size)
	if _, err := whole.ReadAt(p, 0); err != nil || !bytes.Equal(p, f.bytes(0, f.size)) {
		t.Error("wrong bytes", err)
	}
	if n, err := whole.WriteAt([]byte("x"), 0); err == nil {
		t.Errorf("%d bytes were written to it", n)
	}
}

func TestPermissions(t *testing.T) {
	r := newRemote(2)
	o := options(t)
	held(t, r, o, "f")
	for _, name := range names(t, o.Dir) {
		info, err := os.Stat(filepath.Join(o.Dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// A file nobody read anything of leaves nothing behind.
func TestOpenAloneCostsNothing(t *testing.T) {
	r := newRemote(2)
	f := r.add("f", 2*mib)
	o := options(t)
	s := openStore(t, o, r)
	h := openFile(t, s, "f", f.version())
	h.Close()
	if left := names(t, o.Dir); len(left) != 0 || len(r.retrs("f")) != 0 || len(s.all()) != 0 {
		t.Errorf("left: %v, %d files in the index", left, len(s.all()))
	}
}

// What can't be read for now is not damaged: it is left alone, and there again
// when it can be read.
func TestUnreadableIsNotDamaged(t *testing.T) {
	r := newRemote(1)
	f := r.add("f", 3*mib)
	o := options(t)
	s := openStore(t, o, r)
	h := openFile(t, s, "f", f.version())
	checkAll(t, h, f)
	waitWhole(t, h)
	h.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	meta := filepath.Join(o.Dir, baseName("f", h.file.gen)+metaExt)
	if err := os.Rename(meta, meta+".aside"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(meta, 0o700); err != nil { // it opens, and can't be read
		t.Fatal(err)
	}
	if err := openStore(t, o, r).Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(meta); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(meta+".aside", meta); err != nil {
		t.Fatal(err)
	}
	r.setDown(errReset)
	s = openStore(t, o, r)
	checkAll(t, openFile(t, s, "f", f.version()), f)
}
