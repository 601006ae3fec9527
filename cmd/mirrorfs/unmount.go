package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/mountinfo"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func unmountCommand() *cobra.Command {
	var lazy bool
	c := &cobra.Command{
		Use:     "unmount DIR...",
		Aliases: []string{"umount"},
		Short:   "Unmount a mirror and wait until its process has ended",
		Long: "Unmount the mirrors on DIR... and wait until their processes have written what\n" +
			"they hold and ended. \"fusermount3 -u DIR\" and \"umount DIR\" unmount as well.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, dirs []string) error {
			var failed error
			for _, dir := range dirs {
				if err := unmount(cmd.Context(), dir, lazy); err != nil {
					if failed != nil {
						fmt.Fprintln(cmd.ErrOrStderr(), "mirrorfs:", oneLine(failed))
					}
					failed = err
				}
			}
			return failed
		},
	}
	c.Flags().BoolVarP(&lazy, "lazy", "z", false, "take the mount away now, also while programs use it (umount -l)")
	return c
}

// goodbye is how long a mount's process may take to end once it is unmounted.
const goodbye = 30 * time.Second

func unmount(ctx context.Context, dir string, lazy bool) error {
	path, m, mounted, err := resolve(dir)
	switch {
	case err != nil:
		return failf(exitMountpoint, "can't unmount %s: %w", dir, err)
	case !mounted:
		return failf(exitMountpoint, "nothing is mounted on %s; \"mirrorfs status\" lists the mirrors that are", path)
	case m.Type != fsType:
		return failf(exitMountpoint, "what is mounted on %s is not a mirror but %s; use umount", path, m.Type)
	}
	process := -1
	if pid, err := processOf(ctx, path); err == nil {
		if process, err = unix.PidfdOpen(pid, 0); err == nil {
			defer unix.Close(process)
		}
	}
	switch err := detachUnused(ctx, path, lazy); {
	case errors.Is(err, unix.EBUSY) && ctx.Err() != nil:
		return failf(exitInterrupted, "interrupted while %s was in use; it is still mounted", path)
	case errors.Is(err, unix.EBUSY):
		return failf(exitMountpoint, "%s is in use%s; end that, or unmount with --lazy", path, users(path))
	case errors.Is(err, unix.EPERM):
		return failf(exitMountpoint, "you may not unmount %s: another user mounted it; ask root", path)
	case err != nil:
		return failf(exitMountpoint, "can't unmount %s: %w; mirrorfs unmount --lazy takes it away regardless", path, err)
	}
	if process < 0 || lazy {
		return nil
	}
	return awaitEnd(ctx, process)
}

// passerBy is how long a mount may be in use by nobody who can be named: by a
// program that ends just now, or one that asks for an attribute.
const passerBy = time.Second

// detachUnused is detach that lets a passer-by go first.
func detachUnused(ctx context.Context, path string, lazy bool) error {
	for deadline := time.Now().Add(passerBy); ; {
		err := detach(path, lazy)
		if !errors.Is(err, unix.EBUSY) || users(path) != "" || time.Now().After(deadline) {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// awaitEnd waits for a process to end.
func awaitEnd(ctx context.Context, process int) error {
	deadline := time.Now().Add(goodbye)
	fds := []unix.PollFd{{Fd: int32(process), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 100)
		switch {
		case n > 0:
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return failf(exitFailure, "unmounted, but can't wait for its process: %w; wait for it before you shut down, it may be writing its cache", err)
		case ctx.Err() != nil:
			return failf(exitInterrupted, "unmounted, but its process may still be running, and writing its cache")
		case time.Now().After(deadline):
			return failf(exitFailure, "unmounted, but its process has not ended within %v; see its log, and end it with kill if it stays", goodbye)
		}
	}
}

// users names the processes that use the mount, as far as this user may see
// them: " by vim (123), bash (124)". It reads links of /proc only, which does
// not touch the mount.
func users(path string) string {
	var found []string
	processes, _ := filepath.Glob("/proc/[0-9]*")
	inside := func(link string) bool {
		target, err := os.Readlink(link)
		return err == nil && (target == path || strings.HasPrefix(target, strings.TrimSuffix(path, "/")+"/"))
	}
	for _, p := range processes {
		links := []string{p + "/cwd", p + "/root", p + "/exe"}
		for _, dir := range []string{p + "/fd", p + "/map_files"} {
			entries, _ := os.ReadDir(dir) // of other users' processes: not permitted
			for _, e := range entries {
				links = append(links, filepath.Join(dir, e.Name()))
			}
		}
		if slices.ContainsFunc(links, inside) {
			name, _ := os.ReadFile(p + "/comm")
			found = append(found, strings.TrimSpace(string(name))+" ("+filepath.Base(p)+")")
		}
		if len(found) == 5 {
			found = append(found, "...")
			break
		}
	}
	for _, other := range below(path) {
		found = append(found, "a mount on "+strconv.Quote(other))
	}
	if len(found) == 0 {
		return ""
	}
	return " by " + strings.Join(found, ", ")
}

// below lists what is mounted inside path.
func below(path string) []string {
	all, err := mountinfo.Read()
	if err != nil {
		return nil
	}
	var points []string
	for _, m := range all {
		if strings.HasPrefix(m.Point, path+"/") {
			points = append(points, m.Point)
		}
	}
	return points
}
