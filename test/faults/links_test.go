package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
	"github.com/mirrorfs/mirrorfs/internal/realftp"
)

// Symlinks of every kind on real servers lead where they lead there, and walks
// that follow them end.
func TestRealLinks(t *testing.T) {
	links := map[string]string{ // in pub
		"to_file": "data.txt", "current_release": "release-12", "release-12/back": "../data.txt",
		"dangling": "nowhere", "loop": "loop", "a": "b", "b": "a", "up": "..", "release-12/self": ".",
	}
	for _, kind := range realftp.Kinds() {
		for _, slink := range []bool{false, true} {
			if slink && kind != realftp.ProFTPD {
				continue // the only one that can be told to show links in MLSD in two ways
			}
			t.Run(fmt.Sprintf("%s slink=%v", kind, slink), func(t *testing.T) {
				t.Parallel()
				s := realftp.Start(t, kind, realftp.Options{Slink: slink})
				for name, text := range map[string]string{"pub/data.txt": "data\n", "pub/release-12/twelve.txt": "twelve\n"} {
					full := filepath.Join(s.Root(), name)
					if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte(text), 0o644)); err != nil {
						t.Fatal(err)
					}
				}
				for name, target := range links {
					if err := os.Symlink(target, filepath.Join(s.Root(), "pub", name)); err != nil {
						t.Fatal(err)
					}
				}
				m := newMountedAt(t, "ftp://"+s.User()+":"+s.Password()+"@"+s.Addr()+"/", "--timeout", "30s")
				m.start()
				for _, dir := range []string{"pub", "pub/release-12"} {
					if _, err := os.ReadDir(filepath.Join(m.dir, dir)); err != nil {
						t.Fatal(err)
					}
				}
				for name, want := range links {
					got, err := os.Readlink(filepath.Join(m.dir, "pub", name))
					// One that leads into its own folder's parents may be told by its end.
					at, there := filepath.Join(m.dir, "pub", filepath.Dir(name), got), filepath.Join(m.dir, "pub", filepath.Dir(name), want)
					if err != nil || at != there {
						t.Errorf("%s leads to %q, %v; want %q", name, got, err, want)
					}
				}
				for name, want := range map[string]string{
					"to_file": "data\n", "current_release/twelve.txt": "twelve\n", "release-12/back": "data\n", "current_release/back": "data\n",
					"release-12/self/self/twelve.txt": "twelve\n", "up/pub/to_file": "data\n",
				} {
					if b, err := os.ReadFile(filepath.Join(m.dir, "pub", name)); err != nil || string(b) != want {
						t.Errorf("%s: %q, %v", name, b, err)
					}
				}
				for name, want := range map[string]error{"dangling": syscall.ENOENT, "loop": syscall.ELOOP, "a": syscall.ELOOP} {
					if _, err := os.Stat(filepath.Join(m.dir, "pub", name)); !errors.Is(err, want) {
						t.Errorf("%s: %v, want %v", name, err, want)
					}
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				out, _ := exec.CommandContext(ctx, "find", "-L", m.dir, "-name", "*.txt").Output() // it reports the circles, with code 1
				if ctx.Err() != nil {
					t.Error("find -L goes on")
				}
				found := strings.Fields(string(out))
				for _, want := range []string{"pub/data.txt", "pub/current_release/twelve.txt", "pub/release-12/twelve.txt"} {
					if !slices.Contains(found, filepath.Join(m.dir, want)) {
						t.Errorf("find -L does not find %s in %q", want, found)
					}
				}
				m.unmount()
			})
		}
	}
}

// Whatever modes and kinds of files a server lists, nothing in the mount runs,
// carries privileges or is a device.
func TestNothingRuns(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{})
	script := []byte("#!/bin/sh\necho it runs\n")
	s.Tree().WriteFile("d/program", script, epoch)
	s.Tree().WriteFile("d/setuid", script, epoch)
	date := epoch.Format("Jan 02  2006")
	s.On("LIST", "d", ftptest.Action{Listing: fmt.Appendf(nil, "-rwxrwxrwx 1 0 0 %[1]d %[2]s program\r\n-rwsrwsrwt 1 0 0 %[1]d %[2]s setuid\r\n"+
		"crw-rw-rw- 1 0 0 1, 3 %[2]s null\r\nbrw-rw-rw- 1 0 0 8, 0 %[2]s sda\r\nprw-rw-rw- 1 0 0 0 %[2]s pipe\r\nsrw-rw-rw- 1 0 0 0 %[2]s socket\r\n", len(script), date)})
	m := newMounted(t, s, "--allow-other")
	if err := os.Chmod(filepath.Dir(filepath.Dir(m.dir)), 0o755); err != nil { // or others do not get to it
		t.Fatal(err)
	}
	m.start()
	entries, err := os.ReadDir(filepath.Join(m.dir, "d"))
	if err != nil || len(entries) != 2 {
		t.Fatalf("%v, %v", entries, err)
	}
	for _, e := range entries {
		path := filepath.Join(m.dir, "d", e.Name())
		st, err := os.Lstat(path)
		if err != nil || !st.Mode().IsRegular() || st.Mode()&(os.ModeSetuid|os.ModeSetgid|os.ModeSticky|0o111) != 0 {
			t.Errorf("%s: %v, %v", e.Name(), st.Mode(), err)
		}
		if out, err := as(65534, "cat", path).Output(); err != nil || string(out) != string(script) {
			t.Errorf("another user reads %q, %v", out, err)
		}
		for _, uid := range []uint32{0, 65534} {
			if out, err := as(uid, path).CombinedOutput(); !errors.Is(err, syscall.EACCES) {
				t.Errorf("uid %d runs %s: %q, %v", uid, e.Name(), out, err)
			}
		}
	}
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); f[1] == m.dir && (!strings.Contains(f[3], "nosuid") || !strings.Contains(f[3], "nodev")) {
			t.Errorf("mounted with %s", f[3])
		}
	}
	m.unmount()
}

// as runs a program as another user.
func as(uid uint32, words ...string) *exec.Cmd {
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	return cmd
}
