package e2e

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// precision is how exactly a server's listing tells a time, and so how far
// before the truth stat may be.
func precision(kind string, mtime, now time.Time) time.Duration {
	switch {
	case kind == "proftpd" || kind == "pure-ftpd": // MLSD
		return time.Second
	case kind == "datasus" || now.Sub(mtime) < 180*24*time.Hour:
		return time.Minute
	}
	return 24 * time.Hour
}

// statFixture has files of many sizes and ages. Times within a day of the point
// where listings change their form are left out.
func statFixture(now time.Time) *fixture {
	f := &fixture{dirs: []string{"empty folder", "sub/sub"}}
	for i, size := range []int64{0, 1, 511, 512, 513, 4095, 4096, 4097, 1_000_000, 5_000_000} {
		f.add(fmt.Sprintf("size-%d.bin", i), ftptest.Generated(size, uint64(i)))
	}
	now = now.Truncate(time.Second)
	for name, mtime := range map[string]time.Time{
		"minute":   now.Add(-90 * time.Second),
		"hour":     now.Add(-61 * time.Minute),
		"day":      now.Add(-25*time.Hour - 17*time.Second),
		"month":    now.AddDate(0, -1, -1),
		"months":   now.AddDate(0, -5, 0),
		"year":     now.AddDate(-1, 0, -2),
		"winter":   time.Date(now.Year()-1, 1, 15, 3, 4, 5, 0, time.UTC),
		"summer":   time.Date(now.Year()-1, 7, 15, 3, 4, 5, 0, time.UTC),
		"new year": time.Date(now.Year()-2, 12, 31, 23, 59, 59, 0, time.UTC),
		"leap":     time.Date(2024, 2, 29, 12, 0, 1, 0, time.UTC),
		"old":      time.Date(1999, 6, 7, 8, 9, 10, 0, time.UTC),
	} {
		f.addAt("times/"+name+".txt", ftptest.Bytes([]byte(name)), mtime)
	}
	return f
}

// checkStats compares stat of every file with the truth.
func checkStats(t *testing.T, m *mounted, kind string, f *fixture, now time.Time) {
	t.Helper()
	for _, file := range f.files {
		fi, err := os.Lstat(m.path(file.path))
		if err != nil {
			t.Error(err)
			continue
		}
		if !fi.Mode().IsRegular() || fi.Mode().Perm()&^0o200 != 0o444 {
			t.Errorf("%s: mode %v, want a file that all may read", file.path, fi.Mode())
		}
		if fi.Size() != file.content.Size() {
			t.Errorf("%s: %d bytes, want %d", file.path, fi.Size(), file.content.Size())
		}
		if st := fi.Sys().(*syscall.Stat_t); st.Blocks*512 < fi.Size() {
			t.Errorf("%s: %d blocks for %d bytes look like holes", file.path, st.Blocks, fi.Size())
		}
		p := precision(kind, file.mtime, now)
		if off := file.mtime.Sub(fi.ModTime()); off <= -p || off >= p {
			t.Errorf("%s: modified %v, want %v (to %v)", file.path, fi.ModTime().UTC(), file.mtime.UTC(), p)
		}
	}
	for _, d := range []string{"empty folder", "sub", "sub/sub", "times"} {
		if fi, err := os.Lstat(m.path(d)); err != nil || !fi.IsDir() || fi.Mode().Perm()&0o555 == 0 {
			t.Errorf("%s: %v, %v, want a folder", d, fi, err)
		}
	}
	if got := names(t, m.path("empty folder")); len(got) != 0 {
		t.Errorf("the empty folder shows %q", got)
	}
}

// TestStat: sizes, times and types are right on every server.
func TestStat(t *testing.T) {
	now := time.Now()
	f := statFixture(now)
	f.disk(t)
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			s := serve(t, kind, f, options{})
			m := newPlace(t, raced).mount(s.url(""))
			names(t, m.dir)
			names(t, m.path("times"))
			checkStats(t, m, kind, f, now)
			for _, file := range f.files { // and still after the content was read
				same(t, m.path(file.path), file.content)
			}
			checkStats(t, m, kind, f, now)
			m.unmount()
			if bad := changing(s); len(bad) > 0 {
				t.Errorf("changing commands: %v", bad)
			}
		})
	}
}

// TestStatUnlisted: the same for paths that are known without any listing.
func TestStatUnlisted(t *testing.T) {
	now := time.Now()
	f := statFixture(now)
	f.disk(t)
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			s := serve(t, kind, f, options{})
			m := newPlace(t, raced).mount(s.url(""))
			checkStats(t, m, kind, f, now)
		})
	}
}

// TestTimezone: a server that lists times of a zone with summer time, in two- or
// four-digit years, shows the right ones when the zone is told, and the right
// ones for its present offset when not.
func TestTimezone(t *testing.T) {
	const zone = "America/New_York"
	location, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, style := range []ftptest.Style{ftptest.DOS2, ftptest.DOS4} {
		t.Run(fmt.Sprint("style ", style), func(t *testing.T) {
			f := statFixture(now)
			// The hour before and after the clock was put forward, and the day around it was put back.
			f.addAt("times/before spring.txt", ftptest.Bytes(nil), time.Date(2025, 3, 9, 6, 30, 0, 0, time.UTC))
			f.addAt("times/after spring.txt", ftptest.Bytes(nil), time.Date(2025, 3, 9, 7, 30, 0, 0, time.UTC))
			f.addAt("times/before autumn.txt", ftptest.Bytes(nil), time.Date(2025, 11, 2, 4, 30, 0, 0, time.UTC))
			f.addAt("times/after autumn.txt", ftptest.Bytes(nil), time.Date(2025, 11, 2, 7, 30, 0, 0, time.UTC))
			p := ftptest.DATASUS()
			p.Style, p.Zone = style, location
			s := serveTree(t, p, f.tree(), options{})
			m := newPlace(t, raced).mount(s.url(""), "--timezone", zone)
			checkStats(t, m, "datasus", f, now)
			m.unmount()

			present := &fixture{dirs: f.dirs}
			_, offset := now.In(location).Zone()
			for _, file := range f.files {
				if _, o := file.mtime.In(location).Zone(); o == offset {
					present.files = append(present.files, file)
				}
			}
			s = serveTree(t, p, present.tree(), options{})
			m = newPlace(t, raced).mount(s.url(""))
			checkStats(t, m, "datasus", present, now)
		})
	}
}

// TestSymlinks: links of real servers lead where they lead there.
func TestSymlinks(t *testing.T) {
	for _, kind := range []string{"vsftpd", "proftpd", "pure-ftpd"} {
		t.Run(kind, func(t *testing.T) {
			f := &fixture{}
			f.text("release-12/data.txt", "twelve\n")
			root := f.disk(t)
			for link, target := range map[string]string{
				"current_release": "release-12", "release-12/same.txt": "data.txt", "up.txt": "release-12/../release-12/data.txt",
			} {
				if err := os.Symlink(target, root+"/"+link); err != nil {
					t.Fatal(err)
				}
			}
			s := serveDisk(t, kind, root, options{})
			m := newPlace(t, raced).mount(s.url(""))
			for _, path := range []string{"current_release/data.txt", "current_release/same.txt", "release-12/same.txt", "up.txt"} {
				b, err := os.ReadFile(m.path(path))
				if err != nil || string(b) != "twelve\n" {
					t.Errorf("%s: %q, %v", path, b, err)
				}
				if fi, err := os.Stat(m.path(path)); err != nil || fi.Size() != 7 {
					t.Errorf("stat of %s: %v, %v", path, fi, err)
				}
			}
			if fi, err := os.Stat(m.path("current_release")); err != nil || !fi.IsDir() {
				t.Errorf("current_release: %v, %v, want a folder behind it", fi, err)
			}
			if target, err := os.Readlink(m.path("current_release")); kind == "vsftpd" && (err != nil || strings.TrimSuffix(target, "/") != "release-12") {
				t.Errorf("current_release leads to %q, %v", target, err)
			}
		})
	}
}
