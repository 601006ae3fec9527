// Package demo shows mirrorfs at work where there is no server to try it on: it
// serves a small sample mirror on loopback, mounts it with the program itself,
// uses it with everyday commands, and tells what the server saw of that.
package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Options say how a demo is given.
type Options struct {
	Program string    // mirrorfs
	Out     io.Writer // where it is shown
	// Stay, if there is one, leaves the mount up until it returns.
	Stay func(context.Context)
}

// Run gives the demo. It leaves nothing behind.
func Run(ctx context.Context, o Options) (err error) {
	folder, err := os.MkdirTemp("", "mirrorfs-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	mirror, mount := filepath.Join(folder, "served"), filepath.Join(folder, "mirror")
	for _, dir := range []string{mirror, mount} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	files, size, err := writeSample(mirror)
	if err != nil {
		return err
	}
	s, err := serve(mirror)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	d := &show{Options: o, server: s, folder: folder, shell: []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TERM=dumb"}}
	d.say("An FTP server on %s holds a sample mirror: %d files, %.1f MB.", s.addr, files, float64(size)/1e6)
	if err := d.mount(ctx, mount); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.unmount(mount)) }()
	if err := d.use(ctx); err != nil {
		return err
	}
	all := s.since(mark{})
	d.say("In all the server saw %d sessions at once at most, %d listings and %d transfers, %.1f MB.",
		all.Most, all.count("MLSD")+all.count("LIST"), all.count("RETR"), float64(all.Sent)/1e6)
	if o.Stay != nil {
		d.say("The mirror stays mounted on\n\n    %s\n\nLook around in it from another terminal. Enter or Ctrl-C ends it.", mount)
		o.Stay(ctx)
	}
	return nil
}

// show is a demo under way.
type show struct {
	Options
	server *server
	folder string
	shell  []string // environment of the commands
}

func (d *show) say(format string, args ...any) {
	fmt.Fprintf(d.Out, "\n# "+strings.ReplaceAll(format, "\n", "\n# ")+"\n", args...)
}

// mount mounts as a user would, with a cache and a log of the demo's own.
func (d *show) mount(ctx context.Context, dir string) error {
	url := "ftp://" + d.server.addr + "/"
	fmt.Fprintf(d.Out, "\n$ mirrorfs %s mirror\n", url)
	cmd := exec.CommandContext(ctx, d.Program, "--cache-dir", filepath.Join(d.folder, "cache"),
		"--log-file", filepath.Join(d.folder, "log"), "--cache-min-free", "0", url, dir)
	// A terminal's Ctrl-C must end the demo in order, mount and all.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s", strings.TrimPrefix(strings.TrimSpace(said.String()), "mirrorfs: "))
	}
	return nil
}

// unmount goes on where the demo was interrupted, for nothing may stay.
func (d *show) unmount(dir string) error {
	fmt.Fprint(d.Out, "\n$ mirrorfs unmount mirror\n")
	out, err := exec.Command(d.Program, "unmount", dir).CombinedOutput()
	if err == nil {
		return nil
	}
	if _, lazily := exec.Command(d.Program, "unmount", "--lazy", dir).CombinedOutput(); lazily == nil {
		return fmt.Errorf("%s", strings.TrimPrefix(strings.TrimSpace(string(out)), "mirrorfs: "))
	}
	return fmt.Errorf("unmount the demo yourself: %w: %s", err, bytes.TrimSpace(out))
}

// scene is a command and what is shown of it.
type scene struct {
	why     string
	command string
	fails   bool // it is meant to
}

var scenes = []scene{
	{"A mirror is a folder.", "ls -l mirror mirror/" + tables, false},
	{"A file is read as it comes; the rest of it is not waited for.", "head -n 7 mirror/" + book, false},
	{"The table is long: 16 MB. Its first lines do not wait for the last.", "head -n 3 mirror/" + births, false},
	{"Four programs read it at once, and share what comes.", "for i in 1 2 3 4; do sha256sum mirror/" + births + " & done; wait", false},
	{"What was read is in the cache: this asks the server for nothing.", "tail -n 2 mirror/" + births + "; wc -l mirror/" + births, false},
	{"A name that is not there costs nothing either: its folder is known.", "ls mirror/" + tables + "/NADA.DBF", true},
	{"And nothing can be changed.", "touch mirror/gutenberg/README", true},
}

// use goes through the scenes, telling after each what the server saw.
func (d *show) use(ctx context.Context) error {
	for _, s := range scenes {
		d.say("%s", s.why)
		fmt.Fprintf(d.Out, "$ %s\n", s.command)
		before := d.server.now()
		cmd := exec.CommandContext(ctx, "sh", "-c", s.command)
		cmd.Dir, cmd.Env, cmd.WaitDelay = d.folder, d.shell, 5*time.Second
		cmd.Stdout, cmd.Stderr = d.Out, d.Out
		err := cmd.Run()
		var exit *exec.ExitError
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		if err != nil && !(s.fails && errors.As(err, &exit)) {
			return fmt.Errorf("%s: %w", s.command, err)
		}
		if err == nil && s.fails {
			return fmt.Errorf("%s: it should have failed", s.command)
		}
		d.tell(d.server.since(before))
	}
	return nil
}

// tell shows what the server saw of a scene.
func (d *show) tell(v seen) {
	listings, transfers, lookups := v.count("MLSD")+v.count("LIST"), v.count("RETR"), v.count("MLST")
	if listings+transfers+lookups == 0 {
		fmt.Fprintln(d.Out, "  [the server saw nothing of it]")
		return
	}
	fmt.Fprintf(d.Out, "  [the server: %s, %s, %s; %.1f KB sent]\n", plural(listings, "listing"),
		plural(lookups, "look-up"), plural(transfers, "transfer"), float64(v.Sent)/1e3)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
