package main

import (
	"context"
	"os/signal"

	"github.com/mirrorfs/mirrorfs/internal/control"
	"github.com/mirrorfs/mirrorfs/internal/mountinfo"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// warmSettings are what the flags of warm say.
type warmSettings struct {
	jobs, retries                     int
	from                              string
	pin, check, dryRun, evict, asJSON bool
}

const defaultRetries = 10

func warmCommand() *cobra.Command {
	var s warmSettings
	c := &cobra.Command{
		Use:   "warm PATH...",
		Short: "Fetch files and directories into the cache ahead of work",
		Long: "Fetch PATH..., files and directories below mounts, into the cache, so that\n" +
			"later reads need no server. It yields to everybody who reads. What came stays:\n" +
			"after an interruption (Ctrl-C) or a failure, the same command goes on where it\n" +
			"ended. Symlinks to files are followed, and to directories where PATH names one.\n\n" +
			"It tells of each file how it went, OK, CACHED (it was there), NOT FOUND or\n" +
			"ERROR, and exits with 0 only if all came. What can't fit the cache is refused\n" +
			"before anything is fetched.",
		RunE: func(cmd *cobra.Command, paths []string) error { return warm(cmd, s, paths) },
	}
	f := c.Flags()
	f.SortFlags = false
	f.IntVarP(&s.jobs, "jobs", "j", -1, "files to fetch at once (default: as many as the mount has sessions)")
	f.IntVar(&s.retries, "retries", defaultRetries, "how often to try again, with growing pauses, what makes no progress")
	f.StringVar(&s.from, "files-from", "", "also what this `file` names, one path a line; - is the standard input")
	f.BoolVar(&s.pin, "pin", false, "keep these files: they are not evicted to make room")
	f.BoolVar(&s.check, "check", false, "list directories anew and ask the server about files that are held too, so that replaced ones come again")
	f.BoolVar(&s.dryRun, "dry-run", false, "only tell what would come: files, bytes and, when a rate is known, time")
	f.BoolVar(&s.evict, "evict", false, "give the space of these files back instead, pinned or not")
	f.BoolVar(&s.asJSON, "json", false, "print JSON, an object a line, the last one a summary")
	return c
}

func warm(cmd *cobra.Command, s warmSettings, paths []string) error {
	switch {
	case s.jobs < -1 || s.jobs == 0 || s.jobs > maxJobs:
		return failf(exitUsage, "--jobs must be from 1 to %d", maxJobs)
	case s.retries < 0:
		return failf(exitUsage, "--retries must be 0 or more")
	case s.evict && (s.pin || s.check || s.dryRun):
		return failf(exitUsage, "--evict goes with none of --pin, --check and --dry-run")
	}
	if s.from != "" {
		more, err := pathsFrom(s.from, cmd.InOrStdin())
		if err != nil {
			return err
		}
		paths = append(paths, more...)
	}
	if len(paths) == 0 {
		return failf(exitUsage, "give the files or directories to fetch: mirrorfs warm PATH...")
	}
	mounts, err := mountinfo.Read()
	if err != nil {
		return failf(exitFailure, "%w", err)
	}
	var groups []warmGroup // a mount each, in the order they were named
	byPoint := make(map[string]int)
	for _, path := range paths {
		l, err := locate(path, mounts)
		if err != nil {
			return err
		}
		i, ok := byPoint[l.mount.Point]
		if !ok {
			i = len(groups)
			byPoint[l.mount.Point] = i
			groups = append(groups, warmGroup{mount: l.mount})
		}
		groups[i].below = append(groups[i].below, l.below)
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	show := newWarmShow(cmd.OutOrStdout(), cmd.ErrOrStderr(), s)
	err = warmAll(ctx, groups, s, show)
	show.finish(ctx.Err() != nil)
	return err
}

// warmGroup is what is to be fetched through one mount.
type warmGroup struct {
	mount mountinfo.Mount
	below []string
}

func warmAll(ctx context.Context, groups []warmGroup, s warmSettings, show *warmShow) error {
	for _, g := range groups {
		client, err := clientOf(g.mount.Point)
		if err != nil {
			return unspoken(g.mount, err)
		}
		err = client.Warm(ctx, control.WarmRequest{
			Paths: g.below, Jobs: s.jobs, Retries: s.retries,
			Pin: s.pin, Check: s.check, DryRun: s.dryRun, Evict: s.evict,
		}, func(e control.WarmEvent) error { return show.event(g.mount.Point, e) })
		client.Close()
		switch {
		case ctx.Err() != nil:
			return failf(exitInterrupted, "interrupted; what came is kept, and the same command goes on from there")
		case err != nil:
			return failf(exitFailure, "the mount on %s: %w", g.mount.Point, err)
		}
	}
	return show.failed()
}
