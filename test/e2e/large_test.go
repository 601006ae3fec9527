package e2e

import (
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

const gib = 1 << 30

func oneGiB() *fixture {
	f := &fixture{}
	f.add("big.bin", ftptest.Generated(gib, 1))
	return f
}

// stall stops every transfer of a file of the size after n bytes, until the gate
// is closed. Those that have less to send end as they should.
func stall(s *scripted, n, size int64, gate <-chan struct{}) {
	s.Script(func(c *ftptest.Cmd) ftptest.Action {
		if c.Verb == "RETR" && size-c.Offset > n {
			return ftptest.StallAt(n, gate)
		}
		return ftptest.Action{}
	})
}

// TestLargeFileStreams: the first MiB of 1 GiB is there before a tenth of it was
// sent. The server sends no more than that until the reader has the MiB, so a
// mount that waits for more would wait forever.
func TestLargeFileStreams(t *testing.T) {
	f := oneGiB()
	s := serveTree(t, ftptest.DATASUS(), f.tree(), options{})
	const connections = 4
	gate := make(chan struct{})
	stall(s, gib/10/connections, gib, gate)
	m := newPlace(t, plain).mount(s.url(""), "--connections", fmt.Sprint(connections))
	in, err := os.Open(m.path("big.bin"))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	sameRange(t, in, f.files[0].content, 0, 1<<20)
	if sent := s.BytesSent(); sent > gib/10 {
		t.Errorf("the first MiB came after %d bytes were sent, more than a tenth", sent)
	}
	close(gate)
	same(t, m.path("big.bin"), f.files[0].content)
	// Each part of a split file that ends in the middle leaves up to 4 MB in the
	// server's send buffer, which count as sent.
	if sent := s.BytesSent(); sent > gib*110/100 {
		t.Errorf("%d bytes were sent for 1 GiB", sent)
	}
	if peak := m.peakMemory(); peak >= 100<<20 {
		t.Errorf("peak memory of %d MiB while reading 1 GiB, want less than 100", peak>>20)
	}
}

// TestLargeFileOnServer: the same on a real server whose connections are limited
// in rate, by the clock: the first MiB comes in less than a tenth of the time.
func TestLargeFileOnServer(t *testing.T) {
	f := oneGiB()
	s := serve(t, "vsftpd", f, options{rate: 80 << 20})
	m := newPlace(t, plain).mount(s.url(""))
	begin := time.Now()
	in, err := os.Open(m.path("big.bin"))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	sameRange(t, in, f.files[0].content, 0, 1<<20)
	first := time.Since(begin)
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, in); n != gib || err != nil {
		t.Fatalf("read %d bytes, %v", n, err)
	}
	if whole := time.Since(begin); first >= whole/10 {
		t.Errorf("the first MiB took %v of %v", first, whole)
	}
	same(t, m.path("big.bin"), f.files[0].content)
	if peak := m.peakMemory(); peak >= 100<<20 {
		t.Errorf("peak memory of %d MiB while reading 1 GiB, want less than 100", peak>>20)
	}
}

// TestLargeFileTail: the last 64 KiB of 1 GiB, read first, arrive without the
// rest.
func TestLargeFileTail(t *testing.T) {
	f := oneGiB()
	f.disk(t)
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			s := serve(t, kind, f, options{})
			m := newPlace(t, plain).mount(s.url(""))
			in, err := os.Open(m.path("big.bin"))
			if err != nil {
				t.Fatal(err)
			}
			sameRange(t, in, f.files[0].content, gib-64<<10, 64<<10)
			in.Close()
			m.unmount()
			if sent := total(s.sent()); sent > 1<<20 {
				t.Errorf("%d bytes were sent for the last 64 KiB", sent)
			}
		})
	}
}
