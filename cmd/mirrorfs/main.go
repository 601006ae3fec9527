// Command mirrorfs mounts a remote FTP mirror as a folder.
//
// The command line is read here and nowhere else: flags become settings,
// settings are judged and become a plan (plan.go), and a plan is carried out by
// the layers that wire.go joins. A mount in the background is this program
// started anew (background.go); passwords travel between the two in memory only
// (handover.go).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

func main() {
	os.Exit(mainCode())
}

func mainCode() int {
	// From here on others, those of the same user too, may not look into this
	// process, and no core of it is made, by a program that collects them neither.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "mirrorfs: can't keep passwords from core files:", err)
	}
	c, err := arrive()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mirrorfs:", oneLine(err))
		return exitFailure
	}
	return run(c, os.Stdin, os.Stdout, os.Stderr)
}

// run carries out one call and returns its exit code.
func run(c *call, stdin io.Reader, stdout, stderr io.Writer) int {
	if os.Getenv("PATH") == "" { // mount(8) clears it
		os.Setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	}
	args, helper, err := mountArgs(c.Program, c.Args)
	if err != nil {
		fmt.Fprintln(stderr, "mirrorfs:", oneLine(err))
		return exitUsage
	}
	if helper {
		c = &call{Program: "mirrorfs", Args: args, Password: c.Password, Login: c.Login}
	}
	root := rootCommand(c)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err = root.ExecuteContext(context.Background())
	if err != nil && !errors.Is(err, errTold) {
		fmt.Fprintln(stderr, "mirrorfs:", oneLine(err))
	}
	return codeOf(err)
}

func rootCommand(c *call) *cobra.Command {
	root := &cobra.Command{
		Use:   "mirrorfs [options] URL DIR",
		Short: "Mount a remote FTP mirror as a folder",
		Args:  cobra.ArbitraryArgs, // a URL is not a misspelt command
	}
	mountable(root, c)
	mount := &cobra.Command{
		Use:   "mount [options] URL DIR",
		Short: "Mount a mirror; the word \"mount\" may be left out",
		Args:  cobra.ArbitraryArgs,
	}
	mountable(mount, c)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.HiddenDefaultCmd = false
	root.Version = version()
	root.SetVersionTemplate("mirrorfs {{.Version}}\n")
	root.AddCommand(mount, unmountCommand(), statusCommand(), refreshCommand(), warmCommand(), doctorCommand(c), cacheCommand(), demoCommand(), versionCommand(), manCommand())
	addCompletions(root)
	root.SetHelpFunc(help)
	root.SetFlagErrorFunc(flagError)
	root.SetUsageFunc(func(cmd *cobra.Command) error { help(cmd, nil); return nil })
	return root
}

// mountable makes a command mount.
func mountable(cmd *cobra.Command, c *call) {
	s := new(settings)
	s.declare(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch len(args) {
		case 2:
		case 0:
			return failf(exitUsage, "give a URL and a folder: mirrorfs ftp://host/path DIR; mirrorfs --help tells more")
		case 1:
			return failf(exitUsage, "give a folder too: mirrorfs URL DIR (and no option after which a value is missing)")
		default:
			return failf(exitUsage, "give a URL and one folder, not %d words; a path with spaces must be quoted", len(args))
		}
		return c.mount(cmd, *s, args[0], args[1])
	}
}

// mount carries out a mount: here, or in the background.
func (c *call) mount(cmd *cobra.Command, s settings, url, dir string) error {
	if s.setuid != "" && !isUser(s.setuid) {
		if os.Geteuid() != 0 {
			return failf(exitUsage, "only root may use setuid=%s", s.setuid)
		}
		if err := become(s.setuid); err != nil {
			return err
		}
		return &exitError{exitFailure, c.exec()}
	}
	p, err := s.judge(url, dir, c)
	if err != nil {
		return err
	}
	if s.fake {
		return nil
	}
	start := newStarter(cmd.ErrOrStderr())
	if start.pipe != nil {
		return p.serve(start)
	}
	if p.foreground {
		return pointToDoctor(p, p.serve(start))
	}
	for _, w := range p.warnings {
		start.warn(w)
	}
	if p.dir, err = prepare(p.dir, p.allowNonEmpty); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	err = c.background(ctx, p, cmd.ErrOrStderr())
	var e *exitError
	if err != nil && !errors.As(err, &e) {
		err = &exitError{exitFailure, err}
	}
	return pointToDoctor(p, err)
}

// flagError rewords the parser's errors: they repeat whole values, which may
// hold what must not be shown.
func flagError(_ *cobra.Command, err error) error {
	var value *pflag.InvalidValueError
	if !errors.As(err, &value) {
		return failf(exitUsage, "%w; mirrorfs --help lists the options", err)
	}
	if f := value.GetFlag(); f.Name == optionFlag {
		return failf(exitUsage, "-o: %w", value.Unwrap())
	}
	return failf(exitUsage, "--%s: %q: it %w", value.GetFlag().Name, value.GetValue(), reason(value))
}

// reason is why a flag's value was refused, to follow "it".
func reason(err *pflag.InvalidValueError) error {
	var number *strconv.NumError
	if !errors.As(err, &number) {
		return err.Unwrap()
	}
	if err.GetFlag().Value.Type() == "bool" {
		return errors.New("must be true or false")
	}
	return errors.New("must be a whole number")
}
