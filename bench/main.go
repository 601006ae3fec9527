// Command bench measures mirrorfs against its peers, side by side in one run:
// rclone mount, curl, Python's ftplib and aioftp, and the file on the local
// disk. It starts vsftpd over a generated mirror, on loopback, on loopback with
// a limit of 8 MB/s a connection, and behind a round trip of 100 ms, lets every
// contender do every workload in turn for some rounds, and prints medians,
// ranges and ratios as tables, and a plot.
//
// It is a benchmark, not a test: it fails only when a contender can't do its
// work, never because of a figure. What can't be run on this machine (without
// root: what needs namespaces, passthrough or an empty page cache) is named in
// the report.
//
// A run may be done in parts, each with -only and -json; -join makes one report
// of them. With -scale it measures something else: a mirror of 2 million
// entries, see scale.go.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"regexp"
	"strings"
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
		idle   = flag.Duration("idle", 0, "do the distant workloads also on mounts that stood unused this long, as 10m")
		svg    = flag.String("svg", "", "write the plot to this file")
		save   = flag.String("json", "", "write the results to this file, for -join")
		join   = flag.String("join", "", "run nothing: report on these files of -json, separated by commas")
		work   = flag.String("work", "", "an empty folder on a real disk with 10 GB free (default: a temporary one)")
		list   = flag.Bool("list", false, "print the titles of the workloads and end")
		read   = flag.String("read", "", "only read this file and print the seconds: what a run does as another user")
		large  = flag.Bool("scale", false, "walk a mirror of 2 million entries instead")
		dirs   = flag.Int("scale-dirs", 20000, "with -scale: its directories, of 100 entries each")
		memory = flag.String("scale-memory", "64M", "with -scale: --metadata-memory")
	)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends it at once

	err := func() error {
		if *list {
			for _, w := range append(workloads(*bin), warmings(*bin)...) {
				fmt.Println(w.title())
			}
			return nil
		}
		if *read != "" {
			seconds, err := timed(func() error { return readFile(*read) })
			fmt.Println(seconds)
			return err
		}
		if *large {
			return scale(ctx, *bin, *dirs, *memory, *svg)
		}
		var all results
		if *join != "" {
			for name := range strings.SplitSeq(*join, ",") {
				part, err := readResults(name)
				if err != nil {
					return err
				}
				all.add(part)
			}
			return report(all, *save, *svg)
		}
		pick, err := regexp.Compile(*only)
		if err != nil {
			return err
		}
		b := &bench{rounds: *rounds, rtt: *rtt, idle: *idle, python: *python, clients: "bench/clients.py"}
		all, err = b.run(ctx, *bin, *work, pick)
		if err != nil {
			return err
		}
		return report(all, *save, *svg)
	}()
	if err != nil {
		log.Fatal("bench: ", err)
	}
}

func report(r results, save, svg string) error {
	fmt.Print(r.markdown())
	if save != "" {
		if err := r.write(save); err != nil {
			return err
		}
	}
	if svg != "" {
		return os.WriteFile(svg, []byte(r.plot()), 0o644)
	}
	return nil
}
