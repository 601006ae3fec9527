package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// marker names the environment variable that tells which mount a daemon serves.
const marker = "MIRRORFS_E2E_MOUNT"

// patience is how long anything that must end may take before it counts as hung.
const patience = 60 * time.Second

// place is where a mount goes: its folder, cache and log. Mounts of one place
// follow each other and share the cache.
type place struct {
	t          testing.TB
	prog       *program
	base       string // holds all that follows
	dir, cache string
	log        string
	env        []string
	via        []string // words before mirrorfs, to run it elsewhere
}

// newPlace prepares a folder for mounts by p.
func newPlace(t testing.TB, p *program) *place {
	t.Helper()
	base := sandbox(t)
	pl := &place{t: t, prog: p, base: base,
		dir: filepath.Join(base, "mnt"), cache: filepath.Join(base, "cache"), log: filepath.Join(base, "log")}
	for _, d := range []string{pl.dir, pl.cache, filepath.Join(base, "home")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return pl
}

// environ is a user's environment without anything of the machine's real user.
func (p *place) environ() []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"),
		"LANG=C.UTF-8",
		"HOME=" + filepath.Join(p.base, "home"),
		"XDG_RUNTIME_DIR=" + filepath.Join(p.base, "home"),
		"GORACE=atexit_sleep_ms=0 exitcode=66 log_path=" + filepath.Join(p.base, "race"),
		"GOTRACEBACK=all",
		marker + "=" + p.dir,
	}
	return append(env, p.env...)
}

// command is mirrorfs with words, in the place's environment.
func (p *place) command(ctx context.Context, words ...string) *exec.Cmd {
	words = slices.Concat(p.via, []string{p.prog.build(p.t)}, words)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env = p.environ()
	cmd.Dir = p.base
	return cmd
}

// run runs mirrorfs to its end and returns its exit code and what it printed.
func (p *place) run(words ...string) (code int, stdout, stderr string) {
	p.t.Helper()
	p.prog.build(p.t) // before the time counts
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := p.command(ctx, words...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		p.t.Fatalf("mirrorfs %s: %v (%v)\n%s%s", strings.Join(words, " "), err, ctx.Err(), &out, &errs)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// words are the usual options of a mount at this place. What the test wants
// itself comes last, and holds.
func (p *place) words(url string, options ...string) []string {
	words := []string{"--cache-dir", p.cache, "--log-file", p.log, "-v"}
	if n := os.Getenv(connectionsEnv); n != "" {
		words = append(words, "--connections", n)
	}
	words = append(words, options...)
	return append(words, url, p.dir)
}

// allowed is how many sessions such a mount may have where the test says nothing.
func allowed(t testing.TB) int {
	n := os.Getenv(connectionsEnv)
	if n == "" {
		return 4 // the default of --connections
	}
	allowed, err := strconv.Atoi(n)
	if err != nil {
		t.Fatalf("%s=%q is not a number", connectionsEnv, n)
	}
	return allowed
}

// mounted is a mount that answers.
type mounted struct {
	*place
	url      string
	proc     *watched
	watchdog *time.Timer
	gone     bool
}

// mount mounts url in the background, and unmounts it when the test ends.
func (p *place) mount(url string, options ...string) *mounted {
	p.t.Helper()
	code, out, errs := p.run(p.words(url, options...)...)
	if code != 0 {
		p.t.Fatalf("mount of %s: exit code %d\n%s%s%s", url, code, out, errs, p.logTail())
	}
	if out != "" || errs != "" {
		p.t.Errorf("a mount that works says nothing, this one said: %s%s", out, errs)
	}
	m := p.adopt()
	m.url = url
	return m
}

// adopt takes charge of the daemon that serves the place's folder now.
func (p *place) adopt() *mounted {
	p.t.Helper()
	if m, ok := mountAt(p.dir); !ok || m.fstype != "fuse.mirrorfs" {
		p.t.Fatalf("%s is not mounted (%+v)\n%s", p.dir, m, p.logTail())
	}
	pid := daemon(p.dir)
	if pid == 0 {
		p.t.Fatalf("no process serves %s\n%s", p.dir, p.logTail())
	}
	proc, err := watch(pid)
	if err != nil {
		p.t.Fatal(err)
	}
	m := &mounted{place: p, proc: proc}
	// A hung mount would hang the test that reads it: its end wakes all readers.
	m.watchdog = time.AfterFunc(3*patience, func() { m.proc.signal(unix.SIGQUIT) })
	p.t.Cleanup(func() {
		if !m.gone {
			m.unmount()
		}
	})
	return m
}

func (m *mounted) path(name string) string { return filepath.Join(m.dir, name) }

func (m *mounted) peakMemory() int64 { return peakMemory(m.t, m.proc.pid) }

// unmount ends the mount as a user does, and waits for the process.
func (m *mounted) unmount() {
	m.t.Helper()
	code, out, errs := m.run("unmount", m.dir)
	if code != 0 || out != "" || errs != "" {
		m.t.Errorf("mirrorfs unmount: exit code %d\n%s%s%s", code, out, errs, m.logTail())
		if pinned := users(m.dir); len(pinned) > 0 {
			m.t.Errorf("in use by %v", pinned)
		}
		_ = exec.Command("fusermount3", "-uz", m.dir).Run()
	}
	m.ended()
}

// ended waits for the end of the daemon and checks that it left nothing.
func (m *mounted) ended() {
	m.t.Helper()
	m.gone = true
	defer m.proc.close()
	if !m.watchdog.Stop() {
		m.t.Error("the mount hung and was ended by the watchdog")
	}
	if !m.proc.exited(patience) {
		m.t.Errorf("the mount's process goes on after the unmount; its goroutines are in its log")
		m.proc.signal(unix.SIGQUIT)
		if !m.proc.exited(5 * time.Second) {
			m.proc.signal(unix.SIGKILL)
			m.proc.exited(patience)
		}
		m.t.Log(m.logTail())
	}
	if e, ok := mountAt(m.dir); ok {
		m.t.Errorf("still mounted: %+v", e)
		_ = unix.Unmount(m.dir, unix.MNT_DETACH)
	}
	m.checkRaces()
}

// kill ends the daemon as a crash does and leaves the mountpoint dead.
func (m *mounted) kill() {
	m.t.Helper()
	if err := m.proc.signal(unix.SIGKILL); err != nil {
		m.t.Fatal(err)
	}
	if !m.proc.exited(patience) {
		m.t.Fatal("the process goes on after SIGKILL")
	}
	m.watchdog.Stop()
	m.proc.close()
	m.gone = true
	m.t.Cleanup(func() { _ = unix.Unmount(m.dir, unix.MNT_DETACH) })
}

// settled waits until the daemon holds no cached file open: what readers closed
// is closed below them too.
func (m *mounted) settled() {
	m.t.Helper()
	until(m.t, patience, "cache files closed", func() bool { return len(m.openContent()) == 0 })
}

// openContent are the content files of the cache that the daemon has open.
func (m *mounted) openContent() []string {
	var open []string
	for _, f := range (process{pid: m.proc.pid}).files() {
		if below(f, m.cache) && strings.HasSuffix(f, ".dat") {
			open = append(open, f)
		}
	}
	return open
}

// checkRaces fails the test when a race-enabled mirrorfs found a data race.
func (p *place) checkRaces() {
	p.t.Helper()
	reports, _ := filepath.Glob(filepath.Join(p.base, "race.*"))
	for _, r := range reports {
		b, _ := os.ReadFile(r)
		p.t.Errorf("data race:\n%s", b)
		_ = os.Remove(r)
	}
	if b, _ := os.ReadFile(p.log); bytes.Contains(b, []byte("panic")) || bytes.Contains(b, []byte("fatal error")) {
		p.t.Errorf("mirrorfs panicked:\n%s", p.logTail())
	}
}

// logTail is the end of the log, for failures.
func (p *place) logTail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return "no log: " + err.Error()
	}
	if len(b) > 8000 {
		b = b[len(b)-8000:]
	}
	return "log:\n" + string(b)
}

// users names the processes that keep a mount busy.
func users(dir string) []string {
	var all []string
	for _, p := range processes() {
		for _, f := range p.files() {
			if below(f, dir) {
				all = append(all, p.cmdline+" ("+f+")")
			}
		}
	}
	return all
}
