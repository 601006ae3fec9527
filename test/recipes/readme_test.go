package recipes

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// readme returns the README's block of a language whose text holds a word.
func readme(t *testing.T, lang, word string) block {
	t.Helper()
	for _, b := range blocks(t, "README.md") {
		if b.lang == lang && strings.Contains(b.text, word) {
			return b
		}
	}
	t.Fatalf("README.md has no block of %s with %q", lang, word)
	return block{}
}

// TestFirstDataFrame: five lines lead from a clone to a data frame, in Python and
// in R.
func TestFirstDataFrame(t *testing.T) {
	m := serve(t)
	t.Cleanup(func() { unmountAll(t) })
	b := readme(t, "sh", "pandas")
	lines := strings.Split(strings.TrimSpace(b.text), "\n")
	if len(lines) > 5 {
		t.Errorf("these are %d lines:\n%s", len(lines), b.text)
	}
	s := shell{t: t}
	s.types("cd ~/mirrorfs\n" + strings.Join(lines[:3], "\n"))
	shape := fmt.Sprintf("[%d rows x 9 columns]\n", m.conditions)
	if out := s.types(lines[3]); !strings.Contains(out, "#GeneID") || !strings.HasSuffix(out, shape) {
		t.Errorf("%s\nprints\n%s", lines[3], out)
	}
	all, err := os.ReadFile(filepath.Join(repository, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	r := regexp.MustCompile("`(Rscript [^`]*)`").FindSubmatch(all)
	if r == nil {
		t.Fatal("README.md has no line for R")
	}
	if out := s.types(string(r[1])); !strings.Contains(out, fmt.Sprintf("%d obs. of  9 variables", m.conditions)) {
		t.Errorf("%s\nprints\n%s", r[1], out)
	}
	s.types(lines[4])
}

// TestReadme types what the README shows of mounting, warming and ending, and
// mounts from its line for fstab.
func TestReadme(t *testing.T) {
	install(t)
	serve(t)
	t.Cleanup(func() { unmountAll(t) })
	s := shell{t: t}
	mount := readme(t, "sh", "ftp.ibiblio.org").text
	s.types(mount)
	if out := s.types("ls ~/datasus ~/gutenberg"); !strings.Contains(out, "SIM") || !strings.Contains(out, "1") {
		t.Errorf("mounted: %s", out)
	}
	if out := s.types(readme(t, "sh", "warm --dry-run").text); !strings.Contains(out, "OK 1 (") || !strings.Contains(out, "0 of 1 files") {
		t.Errorf("warm: %s", out)
	}
	for i, way := range strings.Split(strings.TrimSpace(readme(t, "sh", "fusermount3 -u").text), "\n") {
		if i > 0 {
			s.types(strings.Split(strings.TrimSpace(mount), "\n")[1])
		}
		if out := s.types(way + "\nls ~/datasus"); out != "" {
			t.Errorf("%s leaves %s", way, out)
		}
	}

	line := ""
	for _, b := range blocks(t, "README.md") {
		if strings.Contains(b.text, "fuse.mirrorfs ") {
			line = b.text
		}
	}
	fields := strings.Fields(line)
	if len(fields) != 6 {
		t.Fatalf("README.md has no line for fstab: %q", line)
	}
	s.run("sh", "-euc", `sudo tee -a /etc/fstab >/dev/null; sudo mkdir "$1"; sudo mount "$1"; ls "$1"`, "sh", fields[1], []byte(line))
	stranger := shell{t: t, user: "nobody", env: []string{"PATH=/usr/bin:/bin", "HOME=/"}}
	if out := stranger.run("ls", fields[1]); !strings.Contains(out, "SIM\n") {
		t.Errorf("another user sees %q", out)
	}
}

// TestDemo: make demo works for somebody who has just cloned this, and what the
// README shows of it is what is seen there.
func TestDemo(t *testing.T) {
	attr, err := as(newcomer)
	if err != nil {
		t.Fatal(err)
	}
	// A terminal, at which the demo stays until Enter.
	cmd := exec.Command("/usr/bin/env", append(append([]string{"-i"}, typing...),
		"script", "--quiet", "--return", "--command", "make demo", "/dev/null")...)
	cmd.Dir, cmd.Env = "/home/"+newcomer+"/mirrorfs", []string{}
	cmd.SysProcAttr, cmd.WaitDelay = attr, 5*time.Second
	enter, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, pipe := io.Pipe()
	cmd.Stdout, cmd.Stderr = pipe, pipe
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(patience, func() { _ = cmd.Process.Kill(); pipe.CloseWithError(os.ErrDeadlineExceeded) })
	defer stuck.Stop()
	var seen bytes.Buffer
	mounted := regexp.MustCompile(`stays mounted on[\s#]+(/\S+)/mirror`)
	buf := make([]byte, 4096)
	var where []byte
	for where == nil {
		n, err := out.Read(buf)
		if err != nil {
			t.Fatalf("%v\n%s", err, &seen)
		}
		seen.Write(buf[:n])
		if m := mounted.FindSubmatch(seen.Bytes()); m != nil && bytes.Contains(seen.Bytes(), []byte("Enter")) {
			where = m[1]
		}
	}
	commands, shown := session(readme(t, "console", "mirrorfs ftp://127.0.0.1").text)
	if !regexp.MustCompile(`\$ mirrorfs ftp://127\.0\.0\.1:\d+/ mirror\s`).Match(seen.Bytes()) ||
		!regexp.MustCompile(`^mirrorfs ftp://127\.0\.0\.1:\d+/ mirror$`).MatchString(commands[0]) {
		t.Errorf("it is not mounted as the README has it:\n%s", &seen)
	}
	for i, c := range commands[1 : len(commands)-1] {
		got, _ := shell{t: t}.attempt(nil, "sh", "-c", "cd "+string(where)+" && "+c)
		got = strings.ReplaceAll(got, newcomer+" "+newcomer, "root root") // whose the mount is
		got = regexp.MustCompile(`(?m)^total .*\n`).ReplaceAllString(got, "")
		if got != shown[i+1] {
			t.Errorf("$ %s\nprints\n%sthe README has\n%s", c, got, shown[i+1])
		}
	}
	if last := commands[len(commands)-1]; last != "mirrorfs unmount mirror" {
		t.Errorf("the README ends it with %q", last)
	}
	var rest sync.WaitGroup
	rest.Go(func() { io.Copy(io.Discard, out) })
	defer rest.Wait()
	defer pipe.Close()
	if _, err := enter.Write([]byte("\n")); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("make demo: %v", err)
	}
	if _, err := os.Stat(string(where)); !os.IsNotExist(err) {
		t.Errorf("it leaves %s: %v", where, err)
	}
}

// session splits a shown session into commands and what each prints.
func session(text string) (commands, shown []string) {
	for line := range strings.Lines(text) {
		if c, ok := strings.CutPrefix(line, "$ "); ok {
			commands, shown = append(commands, strings.TrimSpace(c)), append(shown, "")
		} else {
			shown[len(shown)-1] += line
		}
	}
	return commands, shown
}
