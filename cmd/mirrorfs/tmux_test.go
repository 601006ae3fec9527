package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// reportLine is a line of the doctor's report as it was meant: what a terminal
// had wrapped would go on in its first column.
var reportLine = regexp.MustCompile(`^(This machine|The server of ftp\S+|Mount it with:|  (ok     |note   |problem)  [a-zA-Z0-9-]+ +\S.*| {24}\S.*|  (mirrorfs|mkdir) .*|    \S.*|)$`)

// doctorOnScreen runs the doctor in a terminal of tmux with 80 columns, writes
// what is on its screen afterwards to FILE, and checks each line of it:
//
//	tmux FILE ARGS...
func doctorOnScreen(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: tmux FILE ARGS...")
	}
	self, err := os.Executable()
	ts.Check(err)
	link := ts.MkAbs("mirrorfs")
	if err := os.Symlink(self, link); err != nil && !os.IsExist(err) {
		ts.Check(err)
	}
	socket, done := ts.MkAbs("tmux.socket"), ts.MkAbs("tmux.done")
	var line strings.Builder
	for _, word := range append([]string{link, "doctor"}, args[1:]...) {
		line.WriteString("'" + strings.ReplaceAll(word, "'", `'\''`) + "' ")
	}
	line.WriteString("; echo $? > '" + done + "'; exec sleep 60")
	tmux := func(words ...string) string {
		cmd := exec.Command("tmux", append([]string{"-S", socket, "-f", "/dev/null"}, words...)...)
		cmd.Dir = ts.MkAbs(".")
		cmd.Env = append(os.Environ(), "TERM=xterm", "LC_ALL=C.UTF-8", "HOME="+ts.Getenv("HOME"), "NO_COLOR=1", "SHELL=/bin/sh", "TMUX=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			ts.Fatalf("tmux %s: %v\n%s", words[0], err, out)
		}
		return string(out)
	}
	tmux("new-session", "-d", "-x", "80", "-y", "200", line.String())
	ts.Defer(func() { _ = exec.Command("tmux", "-S", socket, "kill-server").Run() })
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if b, _ := os.ReadFile(done); len(b) > 0 {
			break
		}
		if time.Now().After(deadline) {
			ts.Fatalf("it does not end:\n%s", tmux("capture-pane", "-p"))
		}
	}
	var screen strings.Builder
	for text := range strings.Lines(tmux("capture-pane", "-p")) {
		text = strings.TrimRight(text, " \n")
		if !reportLine.MatchString(text) {
			ts.Fatalf("a line that was wrapped or torn: %q", text)
		}
		screen.WriteString(text + "\n")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(screen.String()), 0o600))
}
