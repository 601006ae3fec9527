package main

import (
	"encoding/json"
	"fmt"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/mirrorfs/mirrorfs/internal/control"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func refreshCommand() *cobra.Command {
	var deep, asJSON bool
	c := &cobra.Command{
		Use:   "refresh PATH...",
		Short: "List directories again now and tell what is new, changed and gone",
		Long: "Ask the server again for the listings of PATH..., directories below mounts (of a\n" +
			"file, the directory it is in), and print what is new, changed and gone. What was\n" +
			"known is served meanwhile. A SIGHUP to a mount's process marks all of its\n" +
			"listings as old instead, so that each is asked for when it is next used.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, paths []string) error {
			return refresh(cmd, paths, deep, asJSON)
		},
	}
	c.Flags().BoolVarP(&deep, "recursive", "r", false, "also the directories below, as far as they were listed before")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, an object a line for each change and for each directory that was listed, or could not be")
	return c
}

func refresh(cmd *cobra.Command, paths []string, deep, asJSON bool) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	failures := 0
	for _, path := range paths {
		m, err := mirrorOf(path)
		if err != nil {
			return err
		}
		real, _, _, err := resolve(path)
		if err != nil {
			return failf(exitMountpoint, "can't find %s: %w", path, err)
		}
		client, err := clientOf(m.Point)
		if err != nil {
			return unspoken(m, err)
		}
		below := strings.TrimPrefix(strings.TrimPrefix(real, m.Point), "/")
		dirs, changes := 0, 0
		err = client.Refresh(ctx, control.RefreshRequest{Paths: []string{below}, Recursive: deep}, func(c control.Change) error {
			shown := filepath.Join(m.Point, c.Path)
			switch c.What {
			case control.Listed:
				dirs++
			case control.Failed:
				failures++
			default:
				changes++
			}
			if asJSON {
				c.Path = shown
				return json.NewEncoder(cmd.OutOrStdout()).Encode(c)
			}
			switch c.What {
			case control.Listed:
			case control.Failed:
				fmt.Fprintf(cmd.ErrOrStderr(), "mirrorfs: %s: %s\n", shownOn(cmd.ErrOrStderr(), shown), printable(c.Text))
			default:
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%-7s %s\n", c.What, shownOn(cmd.OutOrStdout(), shown))
				return err
			}
			return nil
		})
		client.Close()
		if ctx.Err() != nil {
			return failf(exitInterrupted, "interrupted")
		}
		if err != nil {
			return failf(exitFailure, "refresh %s: %w", path, err)
		}
		if asJSON {
			continue
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %d changes in %d directories\n", path, changes, dirs)
	}
	if failures > 0 {
		return failf(exitFailure, "%d directories could not be listed; what was known of them is still served", failures)
	}
	return nil
}
