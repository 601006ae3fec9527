package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/control"
	"github.com/mirrorfs/mirrorfs/internal/mountinfo"
	"github.com/spf13/cobra"
)

func statusCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status [DIR]",
		Short: "Show what is mounted and how it is doing",
		Long:  "Show how the mirror mounted on DIR is doing, or without DIR all mirrors.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			mounts, err := mirrors(args)
			if err != nil {
				return err
			}
			return showStatus(cmd.Context(), cmd.OutOrStdout(), mounts, len(args) == 1, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON: an object with DIR, else a list")
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

func ask(ctx context.Context, m mountinfo.Mount) answer {
	unknown := func(err error) answer {
		return answer{control.Status{URL: m.Source, MountPoint: m.Point}, oneLine(err)}
	}
	c, err := clientOf(m.Point)
	if err != nil {
		return unknown(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s, err := c.Status(ctx)
	if err != nil {
		return unknown(err)
	}
	return answer{Status: s}
}

func showStatus(ctx context.Context, w io.Writer, mounts []mountinfo.Mount, one, asJSON bool) error {
	answers := make([]answer, 0, len(mounts))
	for _, m := range mounts {
		answers = append(answers, ask(ctx, m))
	}
	var failed error
	for _, a := range answers {
		if one && a.Error != "" {
			failed = failf(exitFailure, "%s does not tell its status: %s", a.MountPoint, a.Error)
		}
	}
	if asJSON {
		lines := json.NewEncoder(w)
		lines.SetIndent("", "  ")
		if one {
			return firstOf(lines.Encode(answers[0]), failed)
		}
		return firstOf(lines.Encode(answers), failed)
	}
	if len(answers) == 0 {
		fmt.Fprintln(w, "no mirror is mounted")
	}
	for i, a := range answers {
		if i > 0 {
			fmt.Fprintln(w)
		}
		printStatus(w, a)
	}
	return failed
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return &exitError{exitFailure, err}
		}
	}
	return nil
}

func printStatus(w io.Writer, a answer) {
	fmt.Fprintf(w, "%s on %s\n", a.URL, a.MountPoint)
	line := func(what, format string, args ...any) {
		fmt.Fprintf(w, "  %-11s %s\n", what, fmt.Sprintf(format, args...))
	}
	if a.Error != "" {
		line("status", "not known: %s", a.Error)
		return
	}
	line("since", "%s (process %d, mirrorfs %s)", a.Since.Local().Format(time.DateTime), a.PID, a.Program)
	switch {
	case a.Passthrough:
		line("reads", "whole files by the kernel itself (passthrough)")
	case a.PassthroughWhy != "":
		line("reads", "through the kernel's cache (no passthrough: %s)", a.PassthroughWhy)
	default:
		line("reads", "through the kernel's cache")
	}
	s := a.Sessions
	text := fmt.Sprintf("%d busy, %d idle, %d at most", s.Busy, s.Idle, s.Bound)
	if s.Cap < s.Bound {
		text += fmt.Sprintf("; the server takes %d", s.Cap)
	}
	if s.Waiting > 0 {
		text += fmt.Sprintf("; %d requests wait", s.Waiting)
	}
	if !s.BackOffUntil.IsZero() {
		text += "; the server is asked again at " + s.BackOffUntil.Local().Format(time.TimeOnly)
	}
	if a.Offline {
		text = "none: offline"
	}
	line("sessions", "%s", text)
	for _, t := range a.Transfers {
		what := t.Path
		if t.Listing {
			what = "listing of /" + what
		}
		line("transfer", "%s: %s, %s/s", what, showBytes(t.Bytes), showBytes(int64(t.Rate)))
	}
	c := a.Cache
	room := ""
	if c.Max > 0 {
		room = " of " + showBytes(c.Max)
	}
	line("cache", "%s%s, %d files, in %s", showBytes(c.Used), room, c.Files, c.Folder)
	if c.Hits+c.Misses > 0 {
		line("", "%d %% of reads served from it, %s fetched", 100*c.Hits/(c.Hits+c.Misses), showBytes(c.Fetched))
	}
	l := a.Listings
	line("listings", "%d in memory (%s), %d on disk; %d answered from these, %d asked for", l.Memory, showBytes(l.MemoryBytes), l.Disk, l.Hits, l.Sent)
	if l.Unparsed > 0 {
		line("", "%d lines could not be read", l.Unparsed)
	}
	if v := a.Server; v.System != "" || v.Listing != "" {
		facts := []string{v.System}
		if v.Listing != "" {
			facts = append(facts, v.Listing+" listings")
		}
		facts = append(facts, "REST "+v.Restart)
		if v.Zone != "" {
			facts = append(facts, "times in "+v.Zone)
		}
		if v.TLS != "" {
			facts = append(facts, v.TLS)
		}
		line("server", "%s", strings.Join(facts, ", "))
	}
	for _, e := range a.Errors {
		line("error", "%s %s", e.When.Local().Format(time.DateTime), oneLine(fmt.Errorf("%s", e.Text)))
	}
}
