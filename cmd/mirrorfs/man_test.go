package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestManPages: each command has a page that tells all its options, and all pages
// are in order, by groff's measure and by mandoc's.
func TestManPages(t *testing.T) {
	root := rootCommand(new(call))
	root.InitDefaultCompletionCmd()
	pages := manPages(root, "2026-01-02")
	holds := func(name string, words ...string) {
		t.Helper()
		for _, w := range words {
			if !strings.Contains(string(pages[name]), source.Replace(w)) {
				t.Errorf("%s does not tell of %s", name, w)
			}
		}
	}
	flags := func(name string, c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				holds(name, "--"+f.Name)
			}
		})
	}
	flags("mirrorfs.1", root)
	for _, c := range root.Commands() {
		if c.Hidden || c.Name() == "help" || c.Name() == "mount" {
			continue
		}
		name := "mirrorfs-" + c.Name() + ".1"
		holds("mirrorfs.1", "mirrorfs-"+c.Name(), c.Short)
		if !strings.Contains(string(pages[name]), bold(c.Name())) {
			t.Errorf("%s does not tell how it is called", name)
		}
		flags(name, c)
		for _, sub := range c.Commands() {
			holds(name, ".SS "+sub.Name())
			flags(name, sub)
		}
	}
	for _, e := range exitCodes {
		holds("mirrorfs.1", strings.Fields(e.text)[0])
	}
	holds("mirrorfs.1", "MIRRORFS_PASSWORD", "/etc/mirrorfs", "SIGHUP", "user.mirrorfs.error")
	holds("mount.fuse.mirrorfs.8", "setuid=", "cache_size", "x-systemd.automount")

	dir := t.TempDir()
	for name, page := range pages {
		for _, b := range page {
			if b >= 0x80 {
				t.Errorf("%s is not plain ASCII", name)
				break
			}
		}
		if strings.HasPrefix(string(page), ".so ") {
			target := filepath.Base(strings.TrimSpace(string(page)))
			if pages[target] == nil {
				t.Errorf("%s is %s, which is not there", name, target)
			}
			continue
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, page, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, check := range [][]string{
			{"mandoc", "-Tlint", "-Wstyle", path},
			{"man", "--warnings", "-l", path},
		} {
			cmd := exec.Command(check[0], check[1:]...)
			cmd.Env = append(os.Environ(), "MANPAGER=cat", "MANWIDTH=120", "LC_ALL=C.UTF-8")
			var said strings.Builder
			cmd.Stderr = &said
			if check[0] == "mandoc" {
				cmd.Stdout = &said
			}
			if err := cmd.Run(); err != nil || said.Len() > 0 {
				t.Errorf("%s: %v\n%s", strings.Join(check, " "), err, &said)
			}
		}
	}
}

// TestRoffShowsWhatIsWritten: no text becomes a macro or an escape.
func TestRoffShowsWhatIsWritten(t *testing.T) {
	text := `.br begins 'it', C:\040 ~/x ^ ` + "`a` -o --long"
	r := new(roff)
	r.section("name")
	r.fill(text)
	r.example("  " + text)
	path := filepath.Join(t.TempDir(), "page.1")
	if err := os.WriteFile(path, append([]byte(".TH X 1 2026-01-02\n"), r.Bytes()...), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("man", "-l", path)
	cmd.Env = append(os.Environ(), "MANPAGER=cat", "MANWIDTH=120", "LC_ALL=C.UTF-8")
	out, err := cmd.Output()
	if err != nil || strings.Count(string(out), text) != 2 {
		t.Errorf("%v, want twice: %s\n%s\nof\n%s", err, text, out, r.String())
	}
}
