package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// outage is how long the server of TestOutageUnderClients is away.
func outage(t testing.TB) time.Duration {
	s := os.Getenv("MIRRORFS_E2E_OUTAGE")
	if s == "" {
		return 5 * time.Second
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("MIRRORFS_E2E_OUTAGE: %v", err)
	}
	return d
}

// halfway is a server that stops in the middle of every transfer of a file, until
// the test is over. The function waits until that has happened.
func halfway(t *testing.T, f *fixture, path string, n int64) (s *ftptest.Server, reached func()) {
	t.Helper()
	gate := make(chan struct{})
	s = ftptest.New(t, ftptest.Options{Tree: f.tree()})
	t.Cleanup(func() { close(gate) })
	s.On("RETR", path, ftptest.StallAt(n, gate))
	return s, func() {
		t.Helper()
		until(t, 3*patience, "the transfer has reached its middle", func() bool { return s.BytesSent() >= n })
	}
}

// TestOutageUnderClients: programs that read a table, as a stream and mapped into
// memory, get it whole though the server is killed in the middle and comes back
// later. They notice nothing but the time.
func TestOutageUnderClients(t *testing.T) {
	f := &fixture{}
	f.add("tables/table.csv", ftptest.Bytes(csvTable(200_000)))
	size := f.files[0].content.Size()
	local := f.disk(t)
	for _, c := range clients(t) {
		if c.name != "R fread" && c.name != "pandas_csv" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			truth := c.run(t, local)
			s, reached := halfway(t, f, "tables/table.csv", size/3)
			m := newPlace(t, plain).mount(s.URL(""))
			m.watchdog.Reset(3*patience + outage(t))
			got := make(chan string, 1)
			go func() {
				defer close(got)
				got <- c.run(t, m.dir)
			}()
			reached()
			s.Stop()
			s.ClearRules()
			select {
			case <-got:
				t.Error("it ended while half of the file was missing")
			case <-time.After(outage(t)): // the outage itself
			}
			if err := s.Start(); err != nil {
				t.Fatal(err)
			}
			if g := <-got; g != truth {
				t.Errorf("it made of the mount:\n%s\nof the local copy:\n%s", g, truth)
			}
		})
	}
}

// TestInterruptedReader: SIGINT ends a cat that waits for a server at once, and the
// mount goes on.
func TestInterruptedReader(t *testing.T) {
	f := &fixture{}
	f.add("dir/large.bin", ftptest.Generated(8<<20, 1))
	f.text("dir/file.txt", "content\n")
	s, reached := halfway(t, f, "dir/large.bin", 1<<20)
	m := newPlace(t, raced).mount(s.URL(""), "--timeout", "1h", "--retry-for", "1h")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cat := exec.CommandContext(ctx, "cat", m.path("dir/large.bin"))
	cat.Stdout = io.Discard
	if err := cat.Start(); err != nil {
		t.Fatal(err)
	}
	reached()
	until(t, patience, "cat waits", func() bool { return state(cat.Process.Pid) == "S" || state(cat.Process.Pid) == "D" })
	if err := cat.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cat.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != unix.SIGINT {
		t.Errorf("cat ended by %v (%v)", err, ctx.Err())
	}
	reads(t, m.dir)
}

// state is the letter that ps shows for a process.
func state(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return rest[:1]
}

// TestRootAnswers: df and ls -d of the root answer whatever the network does.
func TestRootAnswers(t *testing.T) {
	f := &fixture{}
	f.text("dir/file.txt", "content\n")
	s := ftptest.New(t, ftptest.Options{Tree: f.tree()})
	m := newPlace(t, raced).mount(s.URL(""), "--timeout", "1h", "--dir-cache-time", "0s")
	s.DropAll()
	s.Freeze()
	defer s.Thaw()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, words := range [][]string{{"df", m.dir}, {"ls", "-d", m.dir}, {"ls", "-ld", m.dir}, {"stat", "-f", m.dir}} {
		if out, err := exec.CommandContext(ctx, words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%v: %v (%v)\n%s", words, err, ctx.Err(), out)
		}
	}
}
