package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
	"golang.org/x/sys/unix"
)

// branches is a folder with n folders, a file in each.
func branches(n int) *fixture {
	f := &fixture{}
	for i := range n {
		f.text(fmt.Sprintf("many/d%04d/file.csv", i), fmt.Sprintln("a;b;", i))
	}
	return f
}

func output(t *testing.T, words ...string) string {
	t.Helper()
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", words, err, out)
	}
	return string(out)
}

// TestLongListOfFolders: `ls -l` of a folder with 1 000 folders is one listing,
// and so is a look into one of them; who looks into a second one walks, and the
// others are listed ahead, unless that is turned off.
func TestLongListOfFolders(t *testing.T) {
	f := branches(1000)
	f.disk(t)
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			s := serve(t, kind, f, options{})
			m := newPlace(t, plain).mount(s.url(""))
			root := listings(s)
			if n := strings.Count(output(t, "ls", "-l", m.path("many")), "\n"); n != 1001 {
				t.Errorf("ls -l shows %d lines", n)
			}
			output(t, "ls", "-l", m.path("many/d0000"))
			output(t, "ls", "-l", m.path("many/d0000"), m.path("many"))
			m.unmount() // nothing is under way any more
			if n := listings(s) - root; n != 2 {
				t.Errorf("%d listings, want 2", n)
			}

			s.reset()
			m = newPlace(t, plain).mount(s.url(""))
			output(t, "ls", m.path("many/d0000"), m.path("many/d0001"))
			until(t, patience, "listing ahead after two of a thousand folders", func() bool { return listings(s) >= 20 })
			m.unmount()

			s.reset()
			m = newPlace(t, plain).mount(s.url(""), "--list-ahead", "0")
			root = listings(s)
			for i := range 10 {
				output(t, "ls", m.path(fmt.Sprintf("many/d%04d", i)))
			}
			m.unmount()
			// The first look-up in many has its listing come behind it.
			if n := listings(s) - root; n < 10 || n > 11 {
				t.Errorf("%d listings of 10 folders with --list-ahead 0", n)
			}
		})
	}
}

// TestUpdatedb: the system's file indexer, set on a mount, sees what is held and
// costs no command; with nobody excluded it would list the mirror.
func TestUpdatedb(t *testing.T) {
	f := branches(20)
	for _, kind := range []string{"vsftpd", "datasus"} {
		t.Run(kind, func(t *testing.T) {
			s := serve(t, kind, f, options{})
			index := func(m *mounted) string {
				t.Helper()
				db := filepath.Join(m.base, "index.db")
				// It goes on where it may not look.
				output(t, "updatedb", "-l", "no", "--prunefs", "", "--prunepaths", "", "--prune-bind-mounts", "no", "-U", m.dir, "-o", db)
				return output(t, "plocate", "-d", db, m.dir)
			}
			m := newPlace(t, plain).mount(s.url(""))
			output(t, "ls", m.path("many"))
			output(t, "ls", m.path("many/d0003"))
			m.unmount()
			m = m.place.mount(s.url(""))
			asked := len(questions(s))
			found := index(m)
			if !strings.Contains(found, m.path("many/d0019")) || !strings.Contains(found, m.path("many/d0003/file.csv")) || strings.Contains(found, m.path("many/d0004/file.csv")) {
				t.Errorf("updatedb found\n%s", found)
			}
			m.unmount()
			if q := questions(s)[asked:]; len(q) > 0 {
				t.Errorf("updatedb cost %v", q)
			}

			m = newPlace(t, plain).mount(s.url(""), "--no-fetch-for", "nobody")
			if found := index(m); strings.Count(found, "file.csv") != 20 {
				t.Errorf("as any other program updatedb found\n%s", found)
			}
		})
	}
}

// TestKernelAnswersAlone: what a mount has told once, the kernel answers by
// itself, here while the mount's process is stopped: names, their absence,
// attributes, the entries of an open folder, and the content of a whole file.
func TestKernelAnswersAlone(t *testing.T) {
	f := &fixture{}
	for i := range 100 {
		f.text(fmt.Sprintf("folder/f%02d.csv", i), fmt.Sprintln("a;b;", i))
	}
	f.add("folder/large.bin", ftptest.Generated(3<<20, 1))
	s := serve(t, "vsftpd", f, options{})
	m := newPlace(t, plain).mount(s.url(""))
	for range 3 { // the first reading of a listing is not kept, the second is
		output(t, "ls", "-l", m.path("folder"))
	}
	if _, err := os.Lstat(m.path("folder/missing")); !os.IsNotExist(err) {
		t.Fatal(err)
	}
	output(t, "cat", m.path("folder/large.bin"))
	m.settled()
	folder, err := os.Open(m.path("folder"))
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	large, err := os.Open(m.path("folder/large.bin"))
	if err != nil {
		t.Fatal(err)
	}
	defer large.Close()

	m.proc.signal(unix.SIGSTOP)
	defer m.proc.signal(unix.SIGCONT)
	answered := make(chan error, 1)
	go func() {
		answered <- func() error {
			for i := range 100 {
				fi, err := os.Lstat(m.path(fmt.Sprintf("folder/f%02d.csv", i)))
				if err != nil {
					return err
				}
				if want := int64(len(fmt.Sprintln("a;b;", i))); fi.Size() != want {
					return fmt.Errorf("%s has %d bytes, want %d", fi.Name(), fi.Size(), want)
				}
			}
			if _, err := os.Lstat(m.path("folder/missing")); !os.IsNotExist(err) {
				return fmt.Errorf("a missing name: %w", err)
			}
			names, err := folder.Readdirnames(-1)
			if err != nil || len(names) != 101 {
				return fmt.Errorf("%d names, %w", len(names), err)
			}
			sameRange(t, large, ftptest.Generated(3<<20, 1), 0, 3<<20)
			return nil
		}()
	}()
	select {
	case err := <-answered:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("the kernel asks the stopped process")
		m.proc.signal(unix.SIGCONT)
		<-answered
	}
}
