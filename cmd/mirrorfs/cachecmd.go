package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/control"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

const aboutMirrors = "MIRROR is a folder that one is mounted on, a mirror's URL, or the name of its\n" +
	"folder in the cache. Beside a running mount it is the mount that does the work."

func cacheCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "cache COMMAND",
		Short: "Show what is held on disk, check it, and make room",
		Long:  "Show what is held on disk, check it, and make room.\n\n" + aboutMirrors,
		Args:  cobra.ArbitraryArgs,
		RunE: func(*cobra.Command, []string) error {
			return failf(exitUsage, "say what to do: mirrorfs cache ls, verify, gc, clear or path")
		},
	}
	c.AddCommand(cacheList(), cacheVerify(), cacheCollect(), cacheClear(), cachePath())
	return c
}

// cacheFlags are common to the commands of cache.
type cacheFlags struct {
	dir    string
	asJSON bool
}

func (f *cacheFlags) declare(c *cobra.Command) {
	c.Flags().SortFlags = false
	c.Flags().StringVar(&f.dir, "cache-dir", "", "`folder` where the cache lives (default as for mounts)")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print JSON, an object a line")
}

// folder is the cache directory that is meant.
func (f *cacheFlags) folder() (string, error) {
	p := &plan{settings: settings{cacheDir: f.dir}}
	err := p.completeCacheDir(os.Getenv)
	return p.cacheDir, err
}

// each calls do for every mirror that is meant, opened, until one fails.
func (f *cacheFlags) each(cmd *cobra.Command, names []string, bounds bool, do func(ctx context.Context, m *heldMirror) error) error {
	dir, err := f.folder()
	if err != nil {
		return err
	}
	mirrors, err := findMirrors(dir, names)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	if len(mirrors) == 0 && !f.asJSON {
		fmt.Fprintf(cmd.ErrOrStderr(), "nothing is held in %s\n", dir)
	}
	for _, m := range mirrors {
		if err := m.open(bounds); err != nil {
			return err
		}
		err := do(ctx, m)
		if closed := m.close(); err == nil {
			err = closed
		}
		var coded *exitError
		switch {
		case ctx.Err() != nil:
			return failf(exitInterrupted, "interrupted")
		case err != nil && !errors.As(err, &coded):
			return failf(exitFailure, "the cache of %s: %w", m.url, err)
		case err != nil:
			return err
		}
	}
	return nil
}

func cacheList() *cobra.Command {
	var f cacheFlags
	c := &cobra.Command{
		Use:   "ls [MIRROR...]",
		Short: "List the files that are held",
		Long: "List the files of which something is held: how large they are, how much of each\n" +
			"is here, when it was last used, whether it is pinned or open, and its path.\n\n" + aboutMirrors,
		RunE: func(cmd *cobra.Command, names []string) error {
			w := cmd.OutOrStdout()
			return f.each(cmd, names, false, func(ctx context.Context, m *heldMirror) error {
				files, disk := 0, int64(0)
				if !f.asJSON {
					fmt.Fprintf(w, "%s in %s\n", m.url, m.folder)
				}
				err := m.files(ctx, func(file control.CacheFile) error {
					files++
					disk += file.Disk
					if f.asJSON {
						return json.NewEncoder(w).Encode(struct {
							Mirror string `json:"mirror"`
							control.CacheFile
						}{m.url, file})
					}
					return printHeld(cmd, file)
				})
				if err == nil && !f.asJSON {
					fmt.Fprintf(w, "%d files, %s on disk\n", files, showBytes(disk))
				}
				return err
			})
		},
	}
	f.declare(c)
	return c
}

func printHeld(cmd *cobra.Command, f control.CacheFile) error {
	held := "whole"
	if !f.Whole {
		held = fmt.Sprintf("%d %%", 100*f.Held/max(f.Size, 1))
	}
	note := ""
	if f.Pinned {
		note = " (pinned)"
	}
	if f.Open > 0 {
		note += " (open)"
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%7s  %5s  %s  %s%s\n",
		showBytes(f.Size), held, f.Used.Local().Format(time.DateTime), shownOn(cmd.OutOrStdout(), f.Path), note)
	return err
}

func cacheVerify() *cobra.Command {
	var f cacheFlags
	c := &cobra.Command{
		Use:   "verify [MIRROR...]",
		Short: "Read what is held and compare it with its checksums",
		Long: "Read the files that are held as a whole and compare them with the checksums\n" +
			"that were recorded when they came. A damaged file is named and given up, so\n" +
			"that it is fetched again when it is wanted; the exit code then is 1.\n\n" + aboutMirrors,
		RunE: func(cmd *cobra.Command, names []string) error {
			w := cmd.OutOrStdout()
			damaged := 0
			err := f.each(cmd, names, false, func(ctx context.Context, m *heldMirror) error {
				right, unknown, bytes := 0, 0, int64(0)
				err := m.verify(ctx, func(v control.CacheChecked) error {
					switch {
					case v.Error != "":
						damaged++
					case v.Bytes > 0:
						right++
						bytes += v.Bytes
					default:
						unknown++
					}
					if f.asJSON {
						return json.NewEncoder(w).Encode(struct {
							Mirror string `json:"mirror"`
							control.CacheChecked
						}{m.url, v})
					}
					if v.Error != "" {
						_, err := fmt.Fprintf(w, "DAMAGED  %s: %s\n", shownOn(w, v.Path), v.Error)
						return err
					}
					return nil
				})
				if err == nil && !f.asJSON {
					fmt.Fprintf(w, "%s: %d files of %s are right, %d have no checksums (they are not whole, or just came)\n",
						m.url, right, showBytes(bytes), unknown)
				}
				return err
			})
			if err == nil && damaged > 0 {
				err = failf(exitFailure, "%d files were damaged; they will be fetched again when they are wanted", damaged)
			}
			return err
		},
	}
	f.declare(c)
	return c
}

func cacheCollect() *cobra.Command {
	var f cacheFlags
	to := unset
	c := &cobra.Command{
		Use:   "gc [MIRROR...]",
		Short: "Make room: evict what was used longest ago",
		Long: "Evict the files that were used longest ago until each mirror keeps the bounds of\n" +
			"its mount (--cache-size, --cache-min-free; those of the latest mount when it is\n" +
			"not mounted), or with --to takes no more than that. Pinned and open files stay.\n\n" + aboutMirrors,
		RunE: func(cmd *cobra.Command, names []string) error {
			r := control.RoomRequest{}
			if to != unset {
				bytes := int64(to)
				r.To = &bytes
			}
			return f.makeRoom(cmd, names, r)
		},
	}
	c.Flags().SortFlags = false
	c.Flags().Var(&to, "to", "most bytes of content that may stay")
	f.declare(c)
	return c
}

func cacheClear() *cobra.Command {
	var f cacheFlags
	var all bool
	c := &cobra.Command{
		Use:   "clear MIRROR...",
		Short: "Give up all content that is held",
		Long: "Give up the content of all files that are held, pinned or not; only files that\n" +
			"are open stay. Listings stay too: they are small, and renewed as they grow old.\n\n" + aboutMirrors,
		RunE: func(cmd *cobra.Command, names []string) error {
			if all == (len(names) > 0) {
				return failf(exitUsage, "name the mirrors to clear, or give --all")
			}
			return f.makeRoom(cmd, names, control.RoomRequest{All: true})
		},
	}
	c.Flags().SortFlags = false
	c.Flags().BoolVar(&all, "all", false, "clear all mirrors of the cache directory")
	f.declare(c)
	return c
}

func (f *cacheFlags) makeRoom(cmd *cobra.Command, names []string, r control.RoomRequest) error {
	w := cmd.OutOrStdout()
	return f.each(cmd, names, !r.All, func(ctx context.Context, m *heldMirror) error {
		room, err := m.room(ctx, r)
		if err != nil {
			return err
		}
		if f.asJSON {
			return json.NewEncoder(w).Encode(struct {
				Mirror string `json:"mirror"`
				control.Room
			}{m.url, room})
		}
		text := fmt.Sprintf("%s: %s given up, %d files of %s are held", m.url, showBytes(room.Freed), room.Files, showBytes(room.Used))
		if room.InUse > 0 {
			text += fmt.Sprintf(", %d of them because they are open", room.InUse)
		}
		_, err = fmt.Fprintln(w, text)
		return err
	})
}

func cachePath() *cobra.Command {
	var f cacheFlags
	c := &cobra.Command{
		Use:   "path [MIRROR...]",
		Short: "Print where the cache is, or where those of mirrors are",
		Long:  "Print the cache directory, or the folders in it that hold the named mirrors.\n\n" + aboutMirrors,
		RunE: func(cmd *cobra.Command, names []string) error {
			dir, err := f.folder()
			if err != nil {
				return err
			}
			paths := []string{dir}
			if len(names) > 0 {
				mirrors, err := findMirrors(dir, names)
				if err != nil {
					return err
				}
				paths = nil
				for _, m := range mirrors {
					paths = append(paths, m.folder)
				}
			}
			for _, path := range paths {
				if f.asJSON {
					err = json.NewEncoder(cmd.OutOrStdout()).Encode(path)
				} else {
					_, err = fmt.Fprintln(cmd.OutOrStdout(), path)
				}
				if err != nil {
					return failf(exitFailure, "%w", err)
				}
			}
			return nil
		},
	}
	f.declare(c)
	return c
}
