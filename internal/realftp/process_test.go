package realftp

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A server keeps no copy of a mirror that was mounted when it started, not even
// of one that does not answer.
func TestServersHoldNoMirrors(t *testing.T) {
	dir := t.TempDir()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Mount("mute", dir, "fuse.mirrorfs", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	s, err := New(Vsftpd, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for pid, want := range map[int]bool{os.Getpid(): true, s.PID(): false} {
		table, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(table), " "+dir+" ") != want {
			t.Errorf("process %d sees the mirror: %v, want %v", pid, !want, want)
		}
	}
}
