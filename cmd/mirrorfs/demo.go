package main

import (
	"context"
	"io"
	"os"
	"os/signal"

	"github.com/mirrorfs/mirrorfs/internal/demo"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Show it at work, on a small mirror that it serves itself",
		Long: "Serve a small sample mirror on loopback, mount it, use it, and tell what the\n" +
			"server saw. On a terminal the mount then stays until Enter or Ctrl-C.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			exe, err := executable()
			if err != nil {
				return failf(exitFailure, "%w", err)
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
			defer stop()
			o := demo.Options{Program: exe, Out: cmd.OutOrStdout()}
			if in, ok := cmd.InOrStdin().(*os.File); ok && isTerminal(in) && isTerminal(os.Stdout) {
				o.Stay = func(ctx context.Context) { awaitEnter(ctx, in) }
			}
			if err := demo.Run(ctx, o); err != nil {
				return failf(exitFailure, "demo: %w", err)
			}
			return nil
		},
	}
}

// awaitEnter returns when a line was entered, or ctx ends; what reads is then
// left to the end of the process.
func awaitEnter(ctx context.Context, in io.Reader) {
	entered := make(chan struct{})
	go func() {
		defer close(entered)
		b := make([]byte, 1)
		for n, err := in.Read(b); err == nil && (n == 0 || b[0] != '\n'); n, err = in.Read(b) {
		}
	}()
	select {
	case <-entered:
	case <-ctx.Done():
	}
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
