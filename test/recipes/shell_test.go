package recipes

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/mountinfo"
	"golang.org/x/sys/unix"
)

// patience is how long what is typed may take before it counts as hung. The
// first of it builds the program.
const patience = 5 * time.Minute

// shell is somebody at a prompt in their home folder.
type shell struct {
	t    *testing.T
	user string // "": the newcomer
	env  []string
}

// attempt runs a command with an input and returns what it printed, both streams
// as they came.
func (s shell) attempt(input []byte, words ...string) (string, error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	env, name := typing, newcomer
	if s.user != "" {
		name = s.user
	}
	if s.env != nil {
		env = s.env
	}
	attr, err := as(name)
	if err != nil {
		s.t.Fatal(err)
	}
	// The tests' own environment must not decide where a command is found.
	words = append([]string{"env", "-i"}, append(env, words...)...)
	cmd := exec.CommandContext(ctx, "/usr/bin/env", words[1:]...)
	cmd.Env = []string{}
	cmd.SysProcAttr = attr
	cmd.Dir = "/"
	for _, e := range env {
		if home, ok := strings.CutPrefix(e, "HOME="); ok {
			cmd.Dir = home
		}
	}
	cmd.Stdin = bytes.NewReader(input)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// run runs a command that must succeed; its last argument is the input.
func (s shell) run(words ...any) string {
	s.t.Helper()
	var args []string
	var input []byte
	for _, w := range words {
		switch w := w.(type) {
		case string:
			args = append(args, w)
		case []byte:
			input = w
		}
	}
	out, err := s.attempt(input, args...)
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// types types lines at the prompt; the first that fails ends the test.
func (s shell) types(lines string) string {
	s.t.Helper()
	return s.run("bash", "-euo", "pipefail", "-c", lines)
}

// save writes a block into the file that the text names, as an editor would.
func (s shell) save(b block) {
	s.t.Helper()
	path, add, _ := b.file()
	script := `mkdir -p "$(dirname "$1")"; cat >"$1"`
	if add {
		script = `sudo tee -a "$1" >/dev/null`
	}
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		path = filepath.Join("/home", newcomer, rest)
	}
	if strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "/home/") {
		script = strings.ReplaceAll(script, `cat >"$1"`, `sudo tee "$1" >/dev/null`)
	}
	s.run("sh", "-euc", script, "sh", path, []byte(b.text))
}

// unmountAll ends all mounts of this world.
func unmountAll(t *testing.T) {
	t.Helper()
	all, err := mountinfo.Read()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if m.Type != "fuse.mirrorfs" {
			continue
		}
		if out, err := exec.Command("/usr/local/bin/mirrorfs", "unmount", m.Point).CombinedOutput(); err != nil {
			t.Errorf("unmount of %s: %v\n%s", m.Point, err, out)
			_ = unix.Unmount(m.Point, unix.MNT_DETACH)
		}
	}
}

// install builds and installs the program as the README says, once.
func install(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/usr/local/bin/mirrorfs"); err == nil {
		return
	}
	for _, b := range blocks(t, "README.md") {
		if b.heading == "Install" && b.lang == "sh" {
			shell{t: t}.types("cd mirrorfs\n" + b.text)
			return
		}
	}
	t.Fatal("the README does not say how to install")
}
