package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sys/unix"
)

// bench is one run.
type bench struct {
	rounds  int
	rtt     time.Duration
	idle    time.Duration
	python  string
	clients string
	work    string // below it: mirror, mounts, servers
	copy    string // the mirror on the local disk, as native reads it
	servers map[network]*server
	leftOut []string
}

// sample is what one contender needed once.
type sample struct {
	figure   float64 // in the workload's unit
	peak     int64   // most memory the mount's process took, in bytes; 0: no mount
	commands int     // FTP commands that the server got, logins included
}

// attempt is one contender about to do one workload: mounted, if it mounts.
type attempt struct {
	// run does the work and returns its figure: for most the seconds it took.
	run   func(ctx context.Context) (float64, error)
	mount *mount // nil: it mounts nothing
}

func (a *attempt) close() {
	if a.mount != nil {
		a.mount.close()
	}
}

// measured gathers the samples of one workload.
type measured struct {
	workload workload
	server   *server
	rested   bool       // on mounts that stood unused
	samples  [][]sample // by entry
}

func (b *bench) run(ctx context.Context, bin, work string, pick *regexp.Regexp) (results, error) {
	var err error
	if bin, err = filepath.Abs(bin); err != nil {
		return results{}, err
	}
	if _, err := os.Stat(bin); err != nil {
		return results{}, fmt.Errorf("%w (make build brings it)", err)
	}
	if work == "" {
		if work, err = os.MkdirTemp("", "mirrorfs-bench-"); err != nil {
			return results{}, err
		}
		defer os.RemoveAll(work)
	}
	if err := os.Chmod(work, 0o755); err != nil { // vsftpd and an unprivileged mount come by
		return results{}, err
	}
	b.work, b.copy = work, filepath.Join(work, "mirror")
	log.Println("making the mirror in", b.copy)
	if err := makeMirror(b.copy); err != nil {
		return results{}, err
	}
	defer b.stopServers()
	if err := b.startServers(ctx); err != nil {
		return results{}, err
	}

	var now, idle []*measured
	for _, w := range append(workloads(bin), warmings(bin)...) {
		rests := w.idle && b.idle > 0
		if !pick.MatchString(w.title()) {
			continue
		}
		s := b.servers[w.net]
		switch {
		case w.needsRoot != "" && os.Geteuid() != 0:
			b.leftOut = append(b.leftOut, w.title()+" (needs root: "+w.needsRoot+")")
			continue
		case s == nil:
			b.leftOut = append(b.leftOut, w.title()+" (needs root: network namespaces)")
			continue
		}
		now = append(now, &measured{workload: b.present(w), server: s})
		if rests {
			w.entries = mounting(w.entries)
			idle = append(idle, &measured{workload: b.present(w), server: s, rested: true})
		}
	}
	if err := b.measure(ctx, now, idle); err != nil {
		return results{}, err
	}
	r := results{Machine: machine(), Versions: versions(ctx, bin, b.python), LeftOut: b.leftOut}
	for _, m := range append(now, idle...) {
		r.Rows = append(r.Rows, m.rows(b.idle, now)...)
	}
	return r, nil
}

// present drops the entries that can't run on this machine.
func (b *bench) present(w workload) workload {
	var there []entry
	for _, e := range w.entries {
		if e.mounts && unix.Access("/dev/fuse", unix.R_OK|unix.W_OK) != nil {
			b.leave("all mounts (this user may not open /dev/fuse)")
			continue
		}
		program := ""
		switch {
		case isRclone(e.name):
			program = "rclone"
		case e.name == "aioftp":
			if exec.Command(b.python, "-c", "import aioftp").Run() != nil {
				program = "aioftp"
			}
		}
		if program == "aioftp" || program != "" && !installed(program) {
			b.leave(program + " (not installed)")
			continue
		}
		there = append(there, e)
	}
	w.entries = there
	return w
}

func (b *bench) leave(what string) {
	for _, l := range b.leftOut {
		if l == what {
			return
		}
	}
	b.leftOut = append(b.leftOut, what)
}

func installed(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

// measure lets every contender of every workload run b.rounds times, in turns,
// so that a machine that drifts drifts for all. What is to stand unused first
// is mounted before all else, every contender of every round, and rests while
// the others run: the rest is paid once.
func (b *bench) measure(ctx context.Context, now, idle []*measured) error {
	var resting []*attempt
	defer func() {
		for _, a := range resting {
			a.close()
		}
	}()
	if len(idle) > 0 {
		log.Printf("mounting what is to stand unused for %v", b.idle)
	}
	for range b.rounds {
		for _, m := range idle {
			for _, e := range m.workload.entries {
				a, err := e.prepare(ctx, b, m.server)
				if err != nil {
					return m.failed(e, err)
				}
				resting = append(resting, a)
			}
		}
	}
	mounted := time.Now()
	for _, m := range now {
		m.samples = make([][]sample, len(m.workload.entries))
		for round := range b.rounds {
			for i, e := range m.workload.entries {
				if e.once && round > 0 {
					continue
				}
				a, err := e.prepare(ctx, b, m.server)
				if err != nil {
					return m.failed(e, err)
				}
				err = m.sample(ctx, i, a)
				if err != nil {
					return err
				}
			}
		}
	}
	if len(idle) == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(mounted.Add(b.idle))):
	}
	for range b.rounds {
		for _, m := range idle {
			if m.samples == nil {
				m.samples = make([][]sample, len(m.workload.entries))
			}
			for i := range m.workload.entries {
				a := resting[0]
				resting = resting[1:]
				if err := m.sample(ctx, i, a); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// sample lets the attempt of entry i run, and closes it.
func (m *measured) sample(ctx context.Context, i int, a *attempt) error {
	defer a.close()
	// A load that hangs in a mount ends when that is taken away.
	defer context.AfterFunc(ctx, a.close)()
	e := m.workload.entries[i]
	before := m.server.commands()
	figure, err := a.run(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return m.failed(e, err)
	}
	s := sample{figure: figure, commands: m.server.commands() - before}
	if a.mount != nil {
		s.peak = a.mount.peakMemory()
	}
	m.samples[i] = append(m.samples[i], s)
	log.Printf("%-76s %-28s %9.3f %s, %d commands", m.title(), e.name, figure, m.workload.unit(), s.commands)
	return nil
}

func (m *measured) title() string {
	if m.rested {
		return m.workload.title() + ", rested"
	}
	return m.workload.title()
}

func (m *measured) failed(e entry, err error) error {
	return fmt.Errorf("%s, %s: %w", m.title(), e.name, err)
}

func (b *bench) startServers(ctx context.Context) error {
	b.servers = map[network]*server{}
	for _, n := range []network{loopback, capped} {
		s, err := startServer(ctx, b.work, b.copy, n, "127.0.0.1", nil)
		if err != nil {
			return err
		}
		b.servers[n] = s
	}
	if os.Geteuid() != 0 {
		return nil
	}
	link, err := newWAN(ctx, b.rtt)
	if errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) { // of /dev/net/tun
		return nil
	}
	if err != nil {
		return err
	}
	s, err := startServer(ctx, b.work, b.copy, distant, link.serverIP, link)
	if err != nil {
		link.close()
		return err
	}
	b.servers[distant] = s
	return nil
}

func (b *bench) stopServers() {
	for _, s := range b.servers {
		s.stop()
	}
}
