package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

const columns = 80

// screen is a terminal of tmux, of 80 columns, on which a command runs.
type screen struct {
	t      testing.TB
	socket string
	// form is what every line that is ever seen must look like.
	form   *regexp.Regexp
	frames int // that were looked at
}

// runOnScreen starts mirrorfs with words on a terminal, and after it prints its
// exit code.
func (p *place) runOnScreen(form string, words ...string) *screen {
	p.t.Helper()
	s := &screen{t: p.t, socket: filepath.Join(p.base, "tmux"), form: regexp.MustCompile("^(?:" + form + `|exit code \d+)?$`)}
	quoted := []string{"'" + p.prog.build(p.t) + "'"}
	for _, w := range words {
		quoted = append(quoted, "'"+w+"'")
	}
	line := strings.Join(quoted, " ") + `; echo "exit code $?"; exec sleep 600`
	cmd := exec.Command("tmux", "-S", s.socket, "-f", "/dev/null", "new-session", "-d", "-x", fmt.Sprint(columns), "-y", "40",
		"env", "-i", "TERM=screen", "sh", "-c", line)
	cmd.Args = append(cmd.Args[:len(cmd.Args)-4], append(p.environ(), cmd.Args[len(cmd.Args)-4:]...)...)
	cmd.Env, cmd.Dir = p.environ(), p.base
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("tmux: %v\n%s", err, out)
	}
	p.t.Cleanup(func() {
		s.tmux("kill-server")
		until(p.t, patience, "the terminal ended", func() bool {
			return !slices.ContainsFunc(processes(), func(c process) bool { return strings.Contains(c.cmdline, line) })
		})
	})
	return s
}

func (s *screen) tmux(words ...string) string {
	s.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", s.socket, "-f", "/dev/null"}, words...)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("tmux %s: %v\n%s", words[0], err, out)
	}
	return string(out)
}

// frame is what is seen now. Lines that tmux had to wrap are joined, and no line
// may have been: it would be longer than the terminal is wide.
func (s *screen) frame() string {
	s.t.Helper()
	f := s.tmux("capture-pane", "-p", "-J")
	s.frames++
	for line := range strings.Lines(f) {
		line = strings.TrimRight(line, " \n")
		if n := utf8.RuneCountInString(line); n > columns {
			s.t.Fatalf("a line of %d columns: %q in\n%s", n, line, f)
		}
		if !s.form.MatchString(line) {
			s.t.Fatalf("a torn line: %q in\n%s", line, f)
		}
	}
	return f
}

// await looks at frames until one has all the texts, and returns it.
func (s *screen) await(texts ...string) string {
	s.t.Helper()
	var f string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		f = s.frame()
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(f, text) }) {
			return f
		}
	}
	s.t.Fatalf("never seen: %q; at last\n%s", texts, f)
	return ""
}

// TestWarmOnScreen: while files come, warm shows bars with the right numbers, and
// when they have, the counts and what failed why; no line is ever torn.
func TestWarmOnScreen(t *testing.T) {
	const long = "a-file-whose-name-is-longer-than-the-room-beside-its-bar.bin"
	f := &fixture{}
	for i, name := range []string{"half.bin", long, "cut.bin", "busy.bin", "burnt.bin", "held.bin"} {
		f.add("data/"+name, ftptest.Generated(2<<20, uint64(i)))
	}
	s := serveTree(t, ftptest.Vsftpd(), f.tree(), options{})
	p := newPlace(t, plain)
	m := p.mount(s.url(""), "--connections", "8", "--timeout", "10m")
	same(t, m.path("data/held.bin"), f.files[5].content)
	until(t, patience, "held.bin is cached", func() bool { return m.state("data/held.bin") == "cached" })

	gate := make(chan struct{})
	s.On("RETR", "data/half.bin", ftptest.StallAt(1<<20, gate))
	s.On("RETR", "data/"+long, ftptest.StallAt(1<<19, gate))
	s.Add(ftptest.Rule{Verb: "RETR", Path: "data/cut.bin", Times: 2, Action: ftptest.CutAt(300_000, ftptest.Reset)})
	s.Add(ftptest.Rule{Verb: "RETR", Path: "data/busy.bin", Times: 2, Action: ftptest.Reply(450, "Busy, try again.")})
	s.On("RETR", "data/burnt.bin", ftptest.Reply(550, "The disk is on fire."))

	screen := p.runOnScreen(`data/\S+ +\[=*>? *\] +\d+ % of +\S+( retry \d+)?`+ // a file
		`|\S+ of \S+ +\[=*>? *\]( +\S+/s +\S+ left)?`+ // the whole
		`|OK \d.*|mirrorfs: .*|    .*`,
		"warm", m.path("data"), m.path("data/none.bin"))
	screen.await("data/a…", " 25 % of     2M", "data/half.bin ", " 50 % of     2M", "5.5M of 10M ")
	close(gate)
	last := screen.await("exit code 1")
	words := strings.Join(strings.Fields(strings.ReplaceAll(last, p.base, "BASE")), " ")
	for _, want := range []string{
		"OK 4 (8M), CACHED 1 (2M), NOT FOUND 1, ERROR 1; in ",
		"; retries: ",
		"mirrorfs: NOT FOUND: BASE/mnt/data/none.bin: lookup data/none.bin: file does not exist mirrorfs: ",
		"mirrorfs: ERROR: BASE/mnt/data/burnt.bin: ",
		`"550 The disk is on fire."`,
		" mirrorfs: 2 did not come exit code 1",
	} {
		if !strings.Contains(words, want) {
			t.Errorf("no %q at the end of\n%s", want, last)
		}
	}
	if strings.Contains(last, "[") {
		t.Errorf("bars stay:\n%s", last)
	}
	if strings.Contains(last, "; retries: 0") || screen.frames < 3 {
		t.Errorf("%d frames seen, the last\n%s", screen.frames, last)
	}
	for _, file := range f.files[:4] {
		same(t, m.path(file.path), file.content)
	}
}

// TestWatchOnScreen: status --watch shows what is under way with the right
// numbers, follows it to its end, and leaves the terminal as it was.
func TestWatchOnScreen(t *testing.T) {
	const long = "deep/er/and/deeper/than/that/a-file-whose-name-is-longer-than-a-line-of-the-terminal-is-wide.bin"
	f := &fixture{}
	f.add("half.bin", ftptest.Generated(2<<20, 1))
	f.add(long, ftptest.Generated(4<<20, 2))
	s := serveTree(t, ftptest.Vsftpd(), f.tree(), options{})
	p := newPlace(t, plain)
	m := p.mount(s.url(""), "--timeout", "10m", "--connections", "4")
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	s.On("RETR", "half.bin", ftptest.StallAt(1<<20, gate))
	s.On("RETR", long, ftptest.StallAt(1<<20, gate))
	var readers sync.WaitGroup
	for _, file := range f.files {
		readers.Go(func() { same(t, m.path(file.path), file.content) })
	}
	defer readers.Wait()
	defer open()
	screen := p.runOnScreen(`mirrorfs status, every 1s; .* \d\d:\d\d:\d\d|ftp://\S+ on \S+`+
		`|  (since|reads|sessions|cache|listings|server|transfers) +\S.*| {14}\S.*`,
		"status", "--watch", p.dir)
	screen.await("2 busy, ", " 4 at most", "2 under way", "half.bin ", " 1M of      2M  50 % ", "deep/er…", " 1M of      4M  25 % ")
	open()
	readers.Wait()
	screen.await("0 busy", "cache       6M of ")
	until(t, patience, "no transfer is shown any more", func() bool { return !strings.Contains(screen.frame(), "under way") })
	screen.tmux("send-keys", "q")
	if f := screen.await("exit code 0"); strings.TrimSpace(f) != "exit code 0" {
		t.Errorf("it leaves on the terminal:\n%s", f)
	}
}
