// Command bench measures mirrorfs against its peers, side by side in one run:
// rclone mount, curl, Python's ftplib and aioftp, and the file on the local
// disk. It starts vsftpd over a generated mirror, on loopback, on loopback with
// a limit of 8 MB/s a connection, and behind a round trip of 100 ms, lets every
// contender do every workload in turn for some rounds, and prints medians and
// ratios as a table, and a plot.
//
// It is a benchmark, not a test: it fails only when a contender can't do its
// work, never because of a figure. What can't be run on this machine (the
// distant rows need root, for network namespaces) is named in the report.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	var (
		rounds = flag.Int("rounds", 3, "how often each contender does each workload")
		only   = flag.String("only", "", "run only the workloads whose title matches this regular expression")
		bin    = flag.String("mirrorfs", "bin/mirrorfs", "the binary to measure")
		python = flag.String("python", ".deps/venv/bin/python", "a Python with aioftp, for the scripted clients")
		rtt    = flag.Duration("rtt", 100*time.Millisecond, "round trip of the distant server")
		idle   = flag.Duration("idle", 0, "let each mount stand unused this long before the distant rows (10m shows what gone sessions cost)")
		svg    = flag.String("svg", "", "write the plot to this file")
		work   = flag.String("work", "", "an empty folder on a real disk with 10 GB free (default: a temporary one)")
	)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	b := &bench{rounds: *rounds, rtt: *rtt, idle: *idle, python: *python, clients: "bench/clients.py", peaks: map[string]int64{}}
	if err := b.run(ctx, *bin, *only, *work, *svg); err != nil {
		log.Fatal("bench: ", err)
	}
}

// bench is one run.
type bench struct {
	rounds   int
	rtt      time.Duration
	idle     time.Duration
	python   string
	clients  string
	work     string           // below it: mirror, copy, mounts, servers
	copy     string           // the mirror on the local disk, as native reads it
	peaks    map[string]int64 // largest memory seen, by contender
	leftOut  []string
	resting  bool // whether this row rests before it runs
	outcomes []outcome
}

// outcome is what one contender needed in one workload.
type outcome struct {
	workload  workload
	contender string
	times     []time.Duration
}

func (b *bench) run(ctx context.Context, bin, only, work, svg string) error {
	pick, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	if bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	if _, err := os.Stat(bin); err != nil {
		return fmt.Errorf("%w (make build brings it)", err)
	}
	if work == "" {
		if work, err = os.MkdirTemp("", "mirrorfs-bench-"); err != nil {
			return err
		}
		defer os.RemoveAll(work)
	}
	if err := os.Chmod(work, 0o755); err != nil { // vsftpd and an unprivileged mount come by
		return err
	}
	b.work, b.copy = work, filepath.Join(work, "mirror")
	log.Println("making the mirror in", b.copy)
	if err := makeMirror(b.copy); err != nil {
		return err
	}

	servers, closeAll, err := b.startServers(ctx)
	if err != nil {
		return err
	}
	defer closeAll()
	for _, w := range workloads(bin) {
		if !pick.MatchString(w.title()) {
			continue
		}
		s := servers[w.net]
		if s == nil {
			b.leftOut = append(b.leftOut, w.title()+" (needs root: network namespaces)")
			continue
		}
		if err := b.measure(ctx, w, s); err != nil {
			return err
		}
	}
	fmt.Print(b.table())
	if svg != "" {
		return os.WriteFile(svg, []byte(b.plot()), 0o644)
	}
	return nil
}

func (b *bench) startServers(ctx context.Context) (map[network]*server, func(), error) {
	servers := map[network]*server{}
	var link *wan
	closeAll := func() {
		for _, s := range servers {
			s.stop()
		}
		if link != nil {
			link.close()
		}
	}
	for _, n := range []network{loopback, capped} {
		s, err := startServer(ctx, b.work, b.copy, n, "127.0.0.1", "", "")
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		servers[n] = s
	}
	link, err := newWAN(ctx, b.rtt)
	if errors.Is(err, os.ErrPermission) {
		return servers, closeAll, nil
	}
	if err == nil {
		servers[distant], err = startServer(ctx, b.work, b.copy, distant, link.serverIP, link.server, link.client)
	}
	if err != nil {
		delete(servers, distant)
		closeAll()
		return nil, nil, err
	}
	return servers, closeAll, nil
}

// measure lets every contender of w run b.rounds times, in turns, so that a
// machine that drifts drifts for all.
func (b *bench) measure(ctx context.Context, w workload, s *server) error {
	outcomes := make([]outcome, len(w.entries))
	for i, e := range w.entries {
		outcomes[i] = outcome{workload: w, contender: e.name}
	}
	b.resting = w.idle
	for round := range b.rounds {
		for i, e := range w.entries {
			if _, err := exec.LookPath("rclone"); err != nil && isRclone(e.name) {
				if round == 0 {
					b.leftOut = append(b.leftOut, e.name+" in "+w.title()+" (rclone is not installed)")
				}
				continue
			}
			d, err := e.run(ctx, b, s)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", w.title(), e.name, err)
			}
			log.Printf("%-70s %-32s %8.3f s", w.title(), e.name, d.Seconds())
			outcomes[i].times = append(outcomes[i].times, d)
		}
	}
	b.outcomes = append(b.outcomes, outcomes...)
	return nil
}

// rest waits as long as the run's rows that stand idle first are told to.
func (b *bench) rest(ctx context.Context) error {
	if !b.resting || b.idle == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(b.idle):
		return nil
	}
}

func (b *bench) notePeak(contender string, bytes int64) {
	b.peaks[contender] = max(b.peaks[contender], bytes)
}
