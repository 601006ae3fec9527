package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestInjection: whatever has a line break in it, by whatever way it comes, no
// second command leaves the program.
func TestInjection(t *testing.T) {
	s := smallServer(t)
	m := newPlace(t, raced).mount(s.url(""))
	reads(t, m.dir)
	for _, end := range []string{"\r\n", "\n", "\r"} {
		for _, name := range []string{"dir/x" + end + "DELE dir/file.txt", "dir/file.txt" + end + "DELE dir/file.txt", end + "DELE dir/file.txt", "dir" + end + "DELE dir/file.txt" + end + "/x"} {
			path := m.path(name)
			if _, err := os.Stat(path); err == nil {
				t.Errorf("stat: %q is there", name)
			}
			if _, err := os.ReadDir(path); err == nil {
				t.Errorf("%q is a folder", name)
			}
			if _, err := unix.Getxattr(path, "user.mirrorfs.url", make([]byte, 4096)); err == nil {
				t.Errorf("getxattr: %q is there", name)
			}
			list := filepath.Join(m.base, "list")
			if err := os.WriteFile(list, []byte(name+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, words := range [][]string{
				{"refresh", path}, {"warm", path}, {"evict", path}, {"warm", "--include", name, m.dir},
				{"warm", "--files-from", list, m.dir},
			} {
				m.run(words...) // what they say is not the question
			}
		}
		// In the URL and in what a login needs: refused before anything is sent.
		escaped := strings.NewReplacer("\r", "%0D", "\n", "%0A").Replace(end) + "DELE%20dir/file.txt"
		p := newPlace(t, raced)
		p.env = append(p.env, "MIRRORFS_PASSWORD=secret"+end+"DELE dir/file.txt")
		for _, words := range [][]string{
			p.words(s.url("") + "dir" + escaped),
			p.words("ftp://maria" + strings.ReplaceAll(escaped, "/", "%2F") + "@" + s.Addr() + "/"),
			p.words("ftp://maria:secret" + strings.ReplaceAll(escaped, "/", "%2F") + "@" + s.Addr() + "/"),
			p.words("ftp://maria@" + s.Addr() + "/"),
		} {
			code, _, errs := p.run(words...)
			if code == 0 {
				p.adopt().unmount()
			}
			if code == 0 || strings.Contains(errs, "secret") {
				t.Errorf("%q: exit code %d, %q", words, code, errs)
			}
		}
	}
	if changed := s.Changed(); len(changed) > 0 {
		t.Errorf("sent: %+v", changed)
	}
	for _, c := range s.Commands() {
		if strings.ContainsAny(c.Arg, "\r\n\x00") {
			t.Errorf("sent: %+v", c)
		}
	}
	reads(t, m.dir)
}
