package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/internal/doctor"
	"github.com/mirrorfs/mirrorfs/internal/ftpurl"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

// doctorShares are the options of a mount that the doctor takes too.
var doctorShares = []string{
	"timeout", "bwlimit", "password-file", "charset", "timezone", "ignore-case",
	"tls-ca", "tls-skip-verify", "proxy", "cache-dir", "cache-min-free",
}

func doctorCommand(c *call) *cobra.Command {
	d := &doctorRun{call: c}
	cmd := &cobra.Command{
		Use:   "doctor [options] [URL [DIR]]",
		Short: "Examine a server and this machine, and say how to mount",
		Long: `Examine the server that URL names, as a careful client would, and this machine,
and say what was found, what it means, and with which command to mount. Without
URL only the machine is examined; with DIR, that folder too.

It opens one session, lists up to 8 folders to find a file, and reads 4 MiB of
it, or as much as comes in 5 seconds. Nothing is mounted or kept.

Marks: "ok"; "note", it works but there is something to know; "problem", a mount
would fail. The exit code is 0 without a problem, else that of the first one, as
mirrorfs --help lists them.`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return d.run(cmd, args) },
	}
	d.settings.declareSome(cmd.Flags(), doctorShares...)
	cmd.Flags().BoolVar(&d.json, "json", false, "print the report as one JSON object")
	cmd.Flags().BoolVar(&d.probe, "probe-connections", false,
		fmt.Sprintf("find out how many sessions the server takes at once: tries up to %d, for a moment, until one is refused", doctor.MostSessions))
	return cmd
}

// doctorRun is one call of the doctor.
type doctorRun struct {
	*call
	settings settings
	json     bool
	probe    bool
}

// doctorReport is what --json prints.
type doctorReport struct {
	Program string           `json:"program"`
	URL     string           `json:"url,omitempty"`
	Machine []doctor.Finding `json:"machine"`
	Server  []doctor.Finding `json:"server"`
	Facts   *doctor.Facts    `json:"facts,omitempty"`
	// Prepare and Command are what to run, word by word; null with a problem.
	Prepare  []string `json:"prepare"`
	Command  []string `json:"command"`
	ExitCode int      `json:"exit_code"`
}

func (d *doctorRun) run(cmd *cobra.Command, args []string) error {
	p := &plan{settings: d.settings}
	var err error
	if len(args) > 0 {
		if p, err = d.settings.judgeURL(args[0], d.call); err != nil {
			return err
		}
	} else if err := p.completeCacheDir(d.env); err != nil {
		return err
	}
	m := d.machine(p)
	if len(args) > 1 {
		if args[1] == "" {
			return usage(errors.New("DIR is empty"))
		}
		path, mounted, _, err := resolve(args[1])
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // which it may be, with what is above
			return failf(exitMountpoint, "can't find %s: %w", args[1], err)
		}
		m.Dir, m.Mounted = path, mounted.Type
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	r := &doctorReport{Program: version(), Machine: []doctor.Finding{}, Server: []doctor.Finding{}}
	show := d.printer(cmd.OutOrStdout())
	show.Head("This machine")
	m.Examine(func(f doctor.Finding) {
		r.Machine = append(r.Machine, f)
		show.Finding(f)
	})
	var advice doctor.Advice
	if len(args) > 0 {
		r.URL = p.url.String()
		fmt.Fprintln(show.W)
		show.Head("The server of " + r.URL)
		if advice, err = d.server(ctx, p, r, show.Finding); err != nil {
			return err
		}
	}
	worst := doctor.Worst(append(r.Machine[:len(r.Machine):len(r.Machine)], r.Server...))
	r.ExitCode = codeOfFinding(worst)
	if len(args) > 0 && worst == nil {
		r.Prepare, r.Command = d.command(cmd.Flags(), p, args, m, advice)
	}
	d.conclude(r, show, p, args)
	if d.json {
		enc := json.NewEncoder(cmd.OutOrStdout())
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		if err := enc.Encode(r); err != nil {
			return &exitError{exitFailure, err}
		}
	}
	if worst != nil {
		return &exitError{r.ExitCode, errTold}
	}
	return nil
}

// printer is where the report for people goes; nowhere with --json.
func (d *doctorRun) printer(out io.Writer) doctor.Printer {
	if d.json {
		return doctor.Printer{W: io.Discard}
	}
	colour := os.Getenv("TERM") != "dumb" && os.Getenv("NO_COLOR") == "" && onTerminal(out)
	return doctor.Printer{W: out, Colour: colour}
}

func (d *doctorRun) machine(p *plan) *doctor.Machine {
	return &doctor.Machine{
		Root:     "/",
		UID:      os.Geteuid(),
		Home:     environment(d.env).home(),
		Path:     filepath.SplitList(d.env("PATH")),
		CacheDir: p.cacheDir,
		Disk:     doctor.DiskOf,
		Writable: doctor.WritableBy,
		MinFree:  int64(p.cacheMinFree),
	}
}

// server examines the server. Its error is an interruption.
func (d *doctorRun) server(ctx context.Context, p *plan, r *doctorReport, show func(doctor.Finding)) (doctor.Advice, error) {
	tell := func(f doctor.Finding) {
		r.Server = append(r.Server, f)
		show(f)
	}
	for _, w := range p.warnings {
		tell(doctor.Finding{Topic: "password", Mark: doctor.Note, Found: w})
	}
	if p.dial != nil {
		proxy := cmp.Or(p.proxy, either(d.env, "ALL_PROXY"))
		tell(doctor.Finding{Topic: "proxy", Mark: doctor.OK, Found: "all connections go through " + ftpurl.Redact(proxy)})
	}
	p.connections = 1
	pool, err := ftppool.New(p.poolConfig(nil, slog.New(slog.DiscardHandler)))
	if err != nil {
		return doctor.Advice{}, failf(exitUsage, "%w", err)
	}
	defer pool.Close()
	s := &doctor.Server{
		Pool: pool, Host: p.url.Host, User: p.url.User,
		Encrypted: p.url.Scheme != ftpurl.FTP, Unverified: p.tlsSkipVerify,
		Timeout: time.Duration(p.timeout), ZoneGiven: p.location != nil,
	}
	if d.probe {
		s.Sessions = doctor.MostSessions
	}
	if err := s.Examine(ctx, tell); err != nil {
		return s.Advice, failf(exitInterrupted, "interrupted")
	}
	r.Facts = &s.Facts
	return s.Advice, nil
}

// codeOfFinding is the exit code of a problem.
func codeOfFinding(f *doctor.Finding) int {
	if f == nil {
		return exitOK
	}
	switch f.Cause {
	case doctor.CauseFUSE:
		return exitNoFUSE
	case doctor.CauseCache:
		return exitCache
	case doctor.CauseMountpoint:
		return exitMountpoint
	}
	return codeOf(remoteError(f.Err))
}

// command is how to mount: with the options that the doctor was given, and those
// that follow from what it found.
func (d *doctorRun) command(flags *pflag.FlagSet, p *plan, args []string, m *doctor.Machine, a doctor.Advice) (prepare, words []string) {
	words = []string{"mirrorfs"}
	for _, name := range doctorShares {
		f := flags.Lookup(name)
		value := f.Value.String()
		_, _, secret := ftpurl.WithoutPassword(value)
		switch {
		case !f.Changed, name == "timeout" && a.Timeout > 0, name == "proxy" && secret:
			continue
		case value == "true" && f.Value.Type() == "bool":
			words = append(words, "--"+name)
			continue
		case name == "password-file" || name == "tls-ca" || name == "cache-dir":
			if path, err := filepath.Abs(value); err == nil { // the command may be run elsewhere
				value = path
			}
		}
		words = append(words, "--"+name+"="+value)
	}
	if a.Timeout > 0 {
		t := span(a.Timeout)
		words = append(words, "--timeout="+t.String())
	}
	if a.Connections > 0 {
		words = append(words, fmt.Sprintf("--connections=%d", a.Connections))
	}
	url, _, _ := ftpurl.WithoutPassword(args[0])
	dir := m.Dir
	if dir == "" {
		parent := m.Home
		if m.UID == 0 || parent == "" {
			parent = "/mnt"
		}
		dir = filepath.Join(parent, p.url.Host)
	}
	if _, err := os.Lstat(dir); err != nil {
		prepare = []string{"mkdir", "-p", dir}
	}
	return prepare, append(words, url, dir)
}

// conclude ends the report.
func (d *doctorRun) conclude(r *doctorReport, show doctor.Printer, p *plan, args []string) {
	fmt.Fprintln(show.W)
	switch {
	case r.ExitCode != exitOK:
		fmt.Fprintf(show.W, "A mount would fail: see the problem above. (Exit code %d)\n", r.ExitCode)
		return
	case len(args) == 0:
		fmt.Fprintln(show.W, "Mirrors can be mounted here. mirrorfs doctor URL looks at a server too.")
		return
	}
	if _, _, secret := ftpurl.WithoutPassword(args[0]); secret {
		fmt.Fprintln(show.W, "The password is not shown: keep it in ~/.netrc, or name a file with it by\n--password-file.")
	}
	if _, _, secret := ftpurl.WithoutPassword(p.proxy); secret {
		fmt.Fprintln(show.W, "The proxy is not shown, since it has a password: put it into ALL_PROXY.")
	}
	fmt.Fprintln(show.W, "Mount it with:")
	fmt.Fprintln(show.W)
	if r.Prepare != nil {
		show.Command(r.Prepare)
	}
	show.Command(r.Command)
}

// pointToDoctor adds to a failed mount's error where more can be found out, where
// that is so: FUSE is not there, the server does not answer as it should, or what
// went wrong is of no kind that is known.
func pointToDoctor(p *plan, err error) error {
	if code := codeOf(err); code == exitNoFUSE || code == exitUnreachable || code == exitFailure {
		return failf(code, "%w; to find out more: mirrorfs doctor %s", err, doctor.Quote(p.url.String()))
	}
	return err
}
