package e2e

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// TestOthersAsk: on a mount that others may read, they ask for its status, warm
// and refresh; what decides over the cache is its owner's and root's. On one
// that they may not read, they may nothing.
func TestOthersAsk(t *testing.T) {
	f := &fixture{}
	f.text("dir/file.txt", "content\n")
	f.add("dir/file.bin", ftptest.Generated(300_000, 4))
	s := serve(t, "vsftpd", f, options{})
	p := newPlace(t, plain)
	if err := os.Chmod(p.base, 0o755); err != nil {
		t.Fatal(err)
	}
	prog := p.prog.build(t)
	ask := func(m *mounted, words ...string) (code int, out string) {
		t.Helper()
		cmd := as(nobody, append([]string{prog}, words...)...)
		cmd.Env = append(p.environ(), "HOME=/nonexistent")
		b, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), string(b)
	}

	m := p.mount(s.url(""), "--allow-other")
	for _, c := range []struct {
		words string
		code  int
		says  string
	}{
		{"status DIR", 0, `(?m)^  sessions `},
		{"status --json DIR", 0, `"mount_point": "` + regexp.QuoteMeta(m.dir) + `"`},
		{"refresh -r DIR", 0, `0 changes in `},
		{"warm --dry-run DIR/dir", 0, `2 of 2 files would come`},
		{"warm DIR/dir", 0, `OK 2 `},
		{"cache ls DIR", 0, `(?m)^ +293K  whole .*  dir/file.bin$`},
		{"warm --pin DIR/dir", 1, `only the user who mounted it, or root, may do that`},
		{"warm --evict DIR/dir", 1, `only the user who mounted it, or root, may do that`},
		{"cache clear DIR", 1, `only the user who mounted it, or root, may do that`},
		{"cache gc --to 0 DIR", 1, `only the user who mounted it, or root, may do that`},
		{"cache verify DIR", 1, `only the user who mounted it, or root, may do that`},
	} {
		code, out := ask(m, strings.Fields(strings.ReplaceAll(c.words, "DIR", m.dir))...)
		if code != c.code || !regexp.MustCompile(c.says).MatchString(out) || code != 0 && strings.Count(out, "\n") > 2 {
			t.Errorf("%s by another user: exit code %d, %q; want %d, %s", c.words, code, out, c.code, c.says)
		}
	}
	if code, out, errs := p.run("cache", "clear", m.dir); code != 0 {
		t.Errorf("clear by the owner: %d, %s%s", code, out, errs)
	}
	m.unmount()

	for options, says := range map[string]string{
		"":                          "another user mounted it",
		"--allow-other --umask=077": "another user mounted it",
	} {
		m := p.mount(s.url(""), strings.Fields(options)...)
		for _, words := range []string{"status DIR", "refresh DIR", "warm DIR/dir"} {
			code, out := ask(m, strings.Fields(strings.ReplaceAll(words, "DIR", m.dir))...)
			if code == 0 || !strings.Contains(out, says) {
				t.Errorf("%q: %s by another user: exit code %d, %q; want %q", options, words, code, out, says)
			}
		}
		m.unmount()
	}
}
