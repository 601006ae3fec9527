package faults

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/cache/content"
	"github.com/mirrorfs/mirrorfs/cache/metadata"
	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

func servers() []ftptest.Profile {
	return []ftptest.Profile{ftptest.Vsftpd(), ftptest.DATASUS(), ftptest.ProFTPD(), ftptest.PureFTPd()}
}

// A file is replaced while it is read: the old handle gives old bytes or
// ErrChanged, never a mixture; what is opened after the change was noticed is
// the new file, wholly.
func TestReplacedDuringRead(t *testing.T) {
	const size = 3 * mib
	later := epoch.AddDate(0, 0, 3)
	for _, p := range servers() {
		for name, now := range map[string]struct {
			size int64
			at   time.Time
		}{
			"longer": {size + 5, epoch}, "shorter": {size - 5, epoch}, "later": {size, later},
			"longer and later": {size * 2, later}, "emptied": {0, later},
		} {
			t.Run(p.Name+" "+name, func(t *testing.T) {
				t.Parallel()
				s := ftptest.New(t, ftptest.Options{Profile: p})
				s.Tree().Generate("d/f", size, 1, epoch)
				old := s.Tree().Content("d/f")
				// The first transfer ends in the middle, when the file is another already.
				cut := ftptest.CutAt(size/2, ftptest.With426)
				cut.Then = func() { s.Tree().Generate("d/f", now.size, 2, now.at) }
				s.Add(ftptest.Rule{Verb: "RETR", Path: "d/f", Times: 1, Action: cut, Match: func(c *ftptest.Cmd) bool { return c.Offset == 0 }})
				m := mount(t, s)
				if _, err := m.list("d"); err != nil {
					t.Fatal(err)
				}
				h, err := m.handle("d/f")
				if err != nil {
					t.Fatal(err)
				}
				defer h.Close()
				b, err := all(h)
				if !errors.Is(err, content.ErrChanged) {
					t.Errorf("read of a replaced file: %d bytes, %v", len(b), err)
				}
				if wrong := compare(b, old, 0, false); wrong != nil {
					t.Errorf("the old handle: %v", wrong)
				}
				eventually(t, "the new file is read", func() bool {
					b, err := m.file("d/f")
					return err == nil && compare(b, s.Tree().Content("d/f"), 0, true) == nil
				})
			})
		}
	}
}

// A file is replaced by another of the same size after its content was given up
// and while its listing is fresh: nothing of the new one passes for the old.
func TestReplacedWhileEvicted(t *testing.T) {
	const size = 3 * mib
	for _, p := range servers() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			s := ftptest.New(t, ftptest.Options{Profile: p})
			s.Tree().Generate("d/f", size, 1, epoch)
			m := mount(t, s)
			if _, err := m.list("d"); err != nil {
				t.Fatal(err)
			}
			m.exact("d/f", s.Tree().Content("d/f"))
			eventually(t, "it is evicted", func() bool { return m.cache.Content().Evict("d/f") == nil })
			s.Tree().Generate("d/f", size, 2, epoch.AddDate(0, 0, 10))
			h, err := m.handle("d/f")
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			if b, err := read(h, size/2, 4096); !errors.Is(err, content.ErrChanged) {
				t.Errorf("%d bytes of the new file, %v", len(b), err)
			}
			eventually(t, "the new file is read", func() bool {
				b, err := m.file("d/f")
				return err == nil && compare(b, s.Tree().Content("d/f"), 0, true) == nil
			})
		})
	}
}

// A file is written over in place while one transfer of it runs: the bytes of
// that transfer are a mixture, which no client can see in them. It is never
// taken for whole, and who opens the file afterwards gets the new one.
func TestWrittenOverDuringTransfer(t *testing.T) {
	const size = 3 * mib
	for _, p := range servers() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			s := ftptest.New(t, ftptest.Options{Profile: p})
			s.Tree().Generate("d/f", size, 1, epoch)
			gate := make(chan struct{})
			close(gate)
			pause := ftptest.StallAt(size/2, gate)
			pause.Then = func() {
				s.Tree().Overwrite("d/f", ftptest.Generated(size, 2), epoch.AddDate(0, 0, 3))
			}
			s.Once("RETR", "d/f", pause)
			m := mount(t, s)
			if _, err := m.list("d"); err != nil {
				t.Fatal(err)
			}
			h, err := m.handle("d/f")
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			b, err := all(h)
			t.Logf("%d bytes, %v", len(b), err)
			eventually(t, "the new file is read", func() bool {
				if _, ok := h.Whole(); ok {
					t.Fatal("a mixture is called whole")
				}
				b, err := m.file("d/f")
				return err == nil && compare(b, s.Tree().Content("d/f"), 0, true) == nil
			})
		})
	}
}

// A file vanishes while it is read.
func TestVanished(t *testing.T) {
	const size = 3 * mib
	for _, p := range servers() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			s := ftptest.New(t, ftptest.Options{Profile: p})
			s.Tree().Generate("d/f", size, 1, epoch)
			s.Tree().Generate("d/g", size, 2, epoch)
			old := s.Tree().Content("d/f")
			cut := ftptest.CutAt(size/2, ftptest.Disconnect)
			cut.Then = func() { s.Tree().Remove("d/f") }
			s.Once("RETR", "d/f", cut)
			m := mount(t, s)
			if _, err := m.list("d"); err != nil {
				t.Fatal(err)
			}
			h, err := m.handle("d/f")
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			b, err := all(h)
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, content.ErrChanged) {
				t.Errorf("read of a file that is gone: %d bytes, %v", len(b), err)
			}
			if wrong := compare(b, old, 0, false); wrong != nil {
				t.Error(wrong)
			}
			eventually(t, "the name is absent", func() bool {
				_, err := m.lookup("d/f")
				return errors.Is(err, fs.ErrNotExist)
			})
			m.exact("d/g", s.Tree().Content("d/g"))
		})
	}
}

// A directory becomes a file, and a directory again.
func TestDirectoryBecomesFile(t *testing.T) {
	for _, p := range servers() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			s := ftptest.New(t, ftptest.Options{Profile: p})
			s.Tree().Generate("d/x/inner", 100_000, 1, epoch)
			s.Tree().Generate("d/keep", 1000, 2, epoch)
			m := mount(t, s)
			m.exact("d/x/inner", s.Tree().Content("d/x/inner"))
			for _, dir := range []string{"", "d", "d/x"} {
				if _, err := m.list(dir); err != nil {
					t.Fatal(err)
				}
			}
			s.Tree().Generate("d/x", 50_000, 3, epoch.AddDate(0, 0, 3))
			m.cache.MarkStale()
			m.exact("d/x", s.Tree().Content("d/x"))
			if _, err := m.list("d/x"); !errors.Is(err, ftppool.ErrNotDir) && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("listing a file: %v", err)
			}
			if _, err := m.lookup("d/x/inner"); err == nil {
				t.Error("there is a file in a file")
			}
			s.Tree().Remove("d/x")
			s.Tree().Generate("d/x/inner", 70_000, 4, epoch.AddDate(0, 0, 6))
			m.cache.MarkStale()
			eventually(t, "the new directory is read", func() bool {
				b, err := m.file("d/x/inner")
				return err == nil && compare(b, s.Tree().Content("d/x/inner"), 0, true) == nil
			})
			if f, err := m.lookup("d/x"); err != nil || f.Entry.Type != listing.Dir {
				t.Errorf("%+v, %v", f, err)
			}
		})
	}
}

// The size in the listing is wrong, or missing. A size too small may never make
// a piece look like the file.
func TestListedSizes(t *testing.T) {
	const size = 400_000
	for _, p := range servers() {
		for _, listed := range []string{"-", "0", "1", "399999", "400001", "400000000000", "0400000", "18446744073709551615", "-1", "4e5"} {
			if listed == "-" && !p.MLSD {
				continue // LIST has no line without a size
			}
			t.Run(p.Name+" "+listed, func(t *testing.T) {
				t.Parallel()
				s := ftptest.New(t, ftptest.Options{Profile: p})
				s.Tree().Put("d/f", ftptest.Entry{Content: ftptest.Generated(size, 1), ModTime: epoch, ListSize: listed})
				s.Tree().Generate("d/g", 1000, 2, epoch)
				truth := s.Tree().Content("d/f")
				m := mount(t, s)
				if _, err := m.list("d"); err != nil {
					t.Fatal(err)
				}
				if listed == "0" {
					// As it was listed: nothing tells an empty file from this one.
					b, err := m.file("d/f")
					if err != nil || len(b) != 0 && compare(b, truth, 0, true) != nil {
						t.Errorf("%d bytes, %v", len(b), err)
					}
					return
				}
				tries := 0
				eventually(t, "the file is read", func() bool {
					tries++
					h, err := m.handle("d/f")
					if errors.Is(err, fs.ErrNotExist) {
						t.Fatalf("the file is said to be absent: %v", err)
					}
					if err != nil {
						return false
					}
					defer h.Close()
					b, err := all(h)
					if err != nil {
						if wrong := compare(b, truth, 0, false); wrong != nil {
							t.Fatal(wrong)
						}
						return false
					}
					if wrong := compare(b, truth, 0, true); wrong != nil {
						t.Fatal(wrong)
					}
					return true
				})
				t.Logf("exact at attempt %d", tries)
			})
		}
	}
}

// All times of a listing move by an hour, as when a server goes over to summer
// time: nothing is transferred, nothing given up.
func TestShiftedTimes(t *testing.T) {
	for _, p := range servers() {
		for _, shift := range []time.Duration{time.Hour, -time.Hour, 30 * time.Minute} {
			if p.MLSD && shift%time.Hour != 0 {
				continue
			}
			t.Run(fmt.Sprint(p.Name, " ", shift), func(t *testing.T) {
				t.Parallel()
				s := ftptest.New(t, ftptest.Options{Profile: p})
				for i := range 10 {
					s.Tree().Generate(fmt.Sprintf("d/f%d", i), 300_000, uint64(i), time.Now().AddDate(0, 0, -10*i).Add(-time.Hour))
				}
				m := mount(t, s)
				if _, err := m.list("d"); err != nil {
					t.Fatal(err)
				}
				for i := range 10 {
					p := fmt.Sprintf("d/f%d", i)
					m.exact(p, s.Tree().Content(p))
				}
				eventually(t, "all files are whole", func() bool {
					n := 0
					for _, f := range m.cache.Content().Files() {
						if f.Whole {
							n++
						}
					}
					return n == 10
				})
				s.Update(func(o *ftptest.Options) { o.TimeShift = shift })
				if _, _, err := m.cache.Refresh(t.Context(), metadata.Caller{}, "d"); err != nil {
					t.Fatal(err)
				}
				s.Reset()
				for i := range 10 {
					p := fmt.Sprintf("d/f%d", i)
					m.exact(p, s.Tree().Content(p))
				}
				if n := s.Count("RETR"); n > 0 {
					t.Errorf("%d transfers", n)
				}
				if st := m.cache.Content().Stats(); st.Evicted != 0 || st.Changed != 0 {
					t.Errorf("%d bytes given up, %d files found changed", st.Evicted, st.Changed)
				}
			})
		}
	}
}
