package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/control"
	"github.com/mirrorfs/mirrorfs/internal/mountinfo"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func statusCommand() *cobra.Command {
	var asJSON, live bool
	every := span(time.Second)
	c := &cobra.Command{
		Use:   "status [DIR]",
		Short: "Show what is mounted and how it is doing",
		Long: "Show how the mirror mounted on DIR is doing, or without DIR all mirrors.\n\n" +
			"With --watch it goes on doing so until Ctrl-C or q: on a terminal as a live\n" +
			"screen, else as one report after the other. The mirror may be unmounted and\n" +
			"mounted again meanwhile.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("interval") && !live {
				return failf(exitUsage, "--interval goes with --watch")
			}
			if every < span(100*time.Millisecond) || every > span(24*time.Hour) {
				return failf(exitUsage, "--interval must be from 100ms to 1d")
			}
			mounts, err := mirrors(args)
			if err != nil {
				return err
			}
			if live {
				w := &statusWatch{every: time.Duration(every), json: asJSON, out: cmd.OutOrStdout()}
				if len(args) == 1 {
					w.point = mounts[0].Point
				}
				return w.run(cmd.Context())
			}
			return showStatus(cmd.OutOrStdout(), askAll(cmd.Context(), mounts), len(args) == 1, asJSON)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.BoolVarP(&live, "watch", "w", false, "show it again and again")
	f.Var(&every, "interval", "how often, with --watch")
	f.BoolVar(&asJSON, "json", false, "print JSON: an object with DIR, else a list; with --watch an object a line")
	return c
}

// mirrors returns the mounts that are meant: the one named, or all.
func mirrors(args []string) ([]mountinfo.Mount, error) {
	if len(args) == 1 {
		m, err := mirrorOf(args[0])
		return []mountinfo.Mount{m}, err
	}
	all, err := mountinfo.Read()
	if err != nil {
		return nil, failf(exitFailure, "%w", err)
	}
	var ours []mountinfo.Mount
	for _, m := range all {
		if m.Type == fsType {
			ours = append(ours, m)
		}
	}
	return ours, nil
}

// mirrorOf returns the mirror that path is in.
func mirrorOf(path string) (mountinfo.Mount, error) {
	real, _, _, err := resolve(path)
	if err != nil {
		return mountinfo.Mount{}, failf(exitMountpoint, "can't find %s: %w", path, err)
	}
	all, err := mountinfo.Read()
	if err != nil {
		return mountinfo.Mount{}, failf(exitFailure, "%w", err)
	}
	var found mountinfo.Mount
	for _, m := range all {
		inside := real == m.Point || strings.HasPrefix(real, strings.TrimSuffix(m.Point, "/")+"/")
		if inside && len(m.Point) >= len(found.Point) {
			found = m
		}
	}
	if found.Type != fsType {
		return found, failf(exitMountpoint, "%s is not in a mounted mirror; \"mirrorfs status\" lists them", path)
	}
	return found, nil
}

// answer is the status of one mount, or why there is none.
type answer struct {
	control.Status
	Error string `json:"error,omitempty"`
}

// unknown is the answer of a mount that can't be asked.
func unknown(m mountinfo.Mount, err error) answer {
	return answer{control.Status{URL: m.Source, MountPoint: m.Point}, oneLine(unasked(m.Point, err))}
}

// unasked says why the mount on point can't be asked, and what to do.
func unasked(point string, err error) error {
	switch {
	case errors.Is(err, unix.ENOTCONN), errors.Is(err, unix.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return errors.New("its process has ended without unmounting; mount it again, or unmount it with: mirrorfs unmount " + point)
	case errors.Is(err, unix.ENODATA):
		return errors.New("its process answers its owner only: its log says why it could not make a socket for others")
	case errors.Is(err, fs.ErrPermission):
		return errors.New("another user mounted it for himself; that user may ask, or mount it with --allow-other")
	case errors.Is(err, errHangs), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("its process has not answered for %v; if that lasts, unmount it with: mirrorfs unmount --lazy %s", patience, point)
	}
	return err
}

func ask(ctx context.Context, m mountinfo.Mount) answer {
	c, err := clientOf(m.Point)
	if err != nil {
		return unknown(m, err)
	}
	defer c.Close()
	return askClient(ctx, c, m)
}

func askClient(ctx context.Context, c *control.Client, m mountinfo.Mount) answer {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s, err := c.Status(ctx)
	if err != nil {
		return unknown(m, err)
	}
	return answer{Status: s}
}

func askAll(ctx context.Context, mounts []mountinfo.Mount) []answer {
	answers := make([]answer, 0, len(mounts))
	for _, m := range mounts {
		answers = append(answers, ask(ctx, m))
	}
	return answers
}
