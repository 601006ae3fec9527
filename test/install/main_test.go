// Package install holds the test of what users install: it makes the packages with
// "make dist", boots systemd on a copy of this machine in which nothing lasts
// (box_test.go), and there installs, mounts, upgrades and removes as an
// administrator does.
package install

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dist makes the packages of a version for this machine, and returns the folder
// they are in.
func dist(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("make", "-s", "-C", "../..", "dist", "VERSION="+version, "ARCHES="+runtime.GOARCH,
		"BUILD="+filepath.Join(dir, "build"), "DIST="+filepath.Join(dir, "dist"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make dist: %v\n%s", err, out)
	}
	return filepath.Join(dir, "dist")
}

// one returns the only file of that pattern.
func one(t *testing.T, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s in %s: %q, %v", pattern, dir, found, err)
	}
	return found[0]
}

// run runs a program that must succeed, and returns what it printed.
func run(t *testing.T, dir string, words ...string) string {
	t.Helper()
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = dir
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(words, " "), err, out, &errs)
	}
	return string(out)
}

// TestDebianVersions: what git says becomes versions that dpkg takes, and sorts as
// the history does.
func TestDebianVersions(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	before := ""
	for _, c := range [][2]string{
		{"abc1234", "0~git20231114221320.abc1234"},
		{"v0.9.0", "0.9.0"},
		{"v1.0.0-rc1", "1.0.0~rc1"},
		{"v1.0.0-rc1-2-g0abc123-dirty", "1.0.0~rc1+2.g0abc123+dirty"},
		{"v1.0.0", "1.0.0"},
		{"v1.0.0-dirty", "1.0.0+dirty"},
		{"v1.0.0-3-gabc1234", "1.0.0+3.gabc1234"},
		{"1.0.1", "1.0.1"},
	} {
		got := strings.TrimSpace(run(t, "../..", "scripts/deb-version.sh", c[0]))
		if got != c[1] {
			t.Errorf("%s becomes %q, want %q", c[0], got, c[1])
		}
		run(t, ".", "dpkg", "--validate-version", got)
		// 1.0.0+3 sorts before 1.0.0+dirty, which no release is built from.
		if before != "" && c[0] != "v1.0.0-3-gabc1234" {
			run(t, ".", "dpkg", "--compare-versions", before, "lt", got)
		}
		before = got
	}
}

// testTarball: "make install" and "make uninstall" in the unpacked tarball put all
// into place, and take it away.
func testTarball(t *testing.T, packages string) {
	dir := t.TempDir()
	run(t, dir, "tar", "-xzf", one(t, packages, "mirrorfs-*.tar.gz"))
	tree := one(t, dir, "mirrorfs-*")
	files := func() string { return run(t, dir, "find", "root", "!", "-type", "d", "-printf", "%P\n") }
	run(t, tree, "make", "-s", "install", "DESTDIR="+dir+"/root")
	for _, name := range []string{
		"usr/local/bin/mirrorfs", "sbin/mount.fuse.mirrorfs", "usr/local/share/man/man1/mirrorfs-warm.1",
		"usr/local/share/man/man8/mount.fuse.mirrorfs.8", "usr/local/share/bash-completion/completions/mirrorfs",
		"usr/local/share/zsh/site-functions/_mirrorfs", "usr/local/share/fish/vendor_completions.d/mirrorfs.fish",
		"usr/local/lib/systemd/system/mirrorfs@.service", "usr/local/lib/systemd/user/mirrorfs@.service",
		"usr/local/share/doc/mirrorfs/README.md",
	} {
		if !strings.Contains("\n"+files(), "\n"+name+"\n") {
			t.Errorf("%s is not installed", name)
		}
	}
	if out := run(t, dir, "root/usr/local/bin/mirrorfs", "version"); out != "mirrorfs "+oldVersion+"\n" {
		t.Errorf("version: %q", out)
	}
	run(t, tree, "make", "-s", "uninstall", "DESTDIR="+dir+"/root")
	if left := files(); left != "" {
		t.Errorf("left after uninstall:\n%s", left)
	}
	if b, err := os.ReadFile(filepath.Join(tree, "THIRD-PARTY")); err != nil || !bytes.Contains(b, []byte("hanwen/go-fuse")) {
		t.Errorf("THIRD-PARTY: %v, %d bytes", err, len(b))
	}
}
