package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// allocated is the disk space that all files below dir take.
func allocated(t testing.TB, dir string) int64 {
	t.Helper()
	var sum int64
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil && e.Type().IsRegular() && unix.Lstat(path, &st) == nil {
			sum += st.Blocks * 512
		}
		return nil // a file may vanish meanwhile
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// TestCacheSize: what is kept stays within --cache-size, and every byte exact.
func TestCacheSize(t *testing.T) {
	const limit = 20 << 20
	f := &fixture{}
	for i := range 20 {
		f.add(fmt.Sprintf("file-%02d.bin", i), ftptest.Generated(5_000_000, uint64(i)))
	}
	f.add("larger-than-the-cache.bin", ftptest.Generated(50_000_000, 99))
	s := serve(t, "vsftpd", f, options{})
	m := newPlace(t, raced).mount(s.url(""), "--cache-size", fmt.Sprint(limit))
	for range 2 {
		for _, file := range f.files {
			same(t, m.path(file.path), file.content)
		}
	}
	m.settled()
	until(t, patience, "the cache within its size", func() bool { return allocated(t, m.cache) <= limit+1<<20 })
	m.unmount()
	if n := allocated(t, m.cache); n > limit+1<<20 {
		t.Errorf("the cache takes %d bytes after the unmount, the limit is %d", n, limit)
	}
}

// TestOneTransfer: sixteen readers of one file cost one transfer.
func TestOneTransfer(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			f := &fixture{}
			f.add("file.bin", ftptest.Generated(30_000_000, 5))
			s := serve(t, kind, f, options{rate: 60 << 20})
			m := newPlace(t, raced).mount(s.url(""))
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() { same(t, m.path("file.bin"), f.files[0].content) })
			}
			wg.Wait()
			m.settled()
			m.unmount()
			if n := count(s, "RETR"); n != 1 {
				t.Errorf("%d RETR, want 1", n)
			}
			if sent := total(s.sent()); sent != 30_000_000 {
				t.Errorf("%d bytes were sent for 30 000 000", sent)
			}
		})
	}
}

// TestSeekAhead: a read far ahead does not wait for what lies between: the
// server sends nothing of it.
func TestSeekAhead(t *testing.T) {
	f := &fixture{}
	f.add("file.bin", ftptest.Generated(60_000_000, 6))
	s := serveTree(t, ftptest.DATASUS(), f.tree(), options{})
	gate := make(chan struct{})
	// Every transfer stops after 2 MB until all seeks are done.
	stall(s, 2<<20, f.size(), gate)
	m := newPlace(t, raced).mount(s.url(""))
	in, err := os.Open(m.path("file.bin"))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for _, off := range []int64{0, 50_000_000, 20_000_000, 59_990_000} {
		sameRange(t, in, f.files[0].content, off, 8192)
	}
	close(gate)
	same(t, m.path("file.bin"), f.files[0].content)
}

// TestBandwidthLimit: --bwlimit bounds what all sessions take together.
func TestBandwidthLimit(t *testing.T) {
	f := &fixture{}
	for i := range 4 {
		f.add(fmt.Sprintf("file-%d.bin", i), ftptest.Generated(1_500_000, uint64(i)))
	}
	s := serve(t, "datasus", f, options{})
	m := newPlace(t, raced).mount(s.url(""), "--bwlimit", "2M")
	begin := time.Now()
	var wg sync.WaitGroup
	for _, file := range f.files {
		wg.Go(func() { same(t, m.path(file.path), file.content) })
	}
	wg.Wait()
	if took := time.Since(begin); took < 2*time.Second {
		t.Errorf("6 MB came in %v through a limit of 2 MB/s", took)
	}
}
