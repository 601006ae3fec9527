package main

import (
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// stamped is the version that the build gives with -ldflags.
var stamped string

func version() string {
	if stamped != "" {
		return stamped
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "unversioned"
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintln(cmd.OutOrStdout(), "mirrorfs", version())
		},
	}
}

// help prints a command's own words, its flags by group, and for the root what
// else there is to know.
func help(cmd *cobra.Command, _ []string) {
	w := cmd.OutOrStdout()
	root := !cmd.HasParent()
	fmt.Fprintf(w, "Usage: %s\n", usageLine(cmd))
	if root {
		fmt.Fprint(w, "\n"+about)
	} else {
		text := cmd.Long
		if text == "" {
			text = cmd.Short + "."
		}
		fmt.Fprintf(w, "\n%s\n", text)
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprint(w, "\nCommands:\n")
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() || c.Name() == "help" {
				fmt.Fprintf(w, "  %-12s %s\n", c.Name(), c.Short)
			}
		}
	}
	printFlags(w, cmd.Flags())
	if root || cmd.Name() == "mount" {
		fmt.Fprint(w, "\nExit codes:\n")
		for _, e := range exitCodes {
			fmt.Fprintf(w, "  %3d  %s\n", e.code, e.text)
		}
	}
}

const about = `Mount the folder that URL names on DIR, for reading. The command returns once
the mount answers; the mount then runs in the background until it is unmounted.

URL is ftp://[USER[:PASSWORD]@]HOST[:PORT]/PATH, or ftps:// (implicit TLS), or
ftpes:// (explicit TLS). PATH is relative to the login folder; begin it with
%2F for one from the server's root.

Sizes are written like 512M or 20G, times like 30s, 5m, 1h or 2d.
`

func usageLine(cmd *cobra.Command) string {
	if !cmd.HasParent() {
		return cmd.Use + "\n       mirrorfs COMMAND ..."
	}
	line := cmd.CommandPath() + strings.TrimPrefix(cmd.Use, cmd.Name())
	return line
}

func printFlags(w io.Writer, flags *pflag.FlagSet) {
	print := func(title, group string) {
		var lines strings.Builder
		flags.VisitAll(func(f *pflag.Flag) {
			if f.Hidden || groupFor(f) != group {
				return
			}
			lines.WriteString(flagLines(f))
		})
		if lines.Len() > 0 {
			fmt.Fprintf(w, "\n%s:\n%s", title, lines.String())
		}
	}
	for _, g := range groups {
		print(g, g)
	}
	print("Options", "")
}

// groupFor is the group that a flag is of, "" for none.
func groupFor(f *pflag.Flag) string {
	if g := f.Annotations[groupOf]; len(g) > 0 {
		return g[0]
	}
	return ""
}

// flagParts are what a flag takes, "" for nothing, and what it does.
func flagParts(f *pflag.Flag) (value, text string) {
	value, text = pflag.UnquoteUsage(f)
	switch f.Value.Type() {
	case "bool", "count":
		value = ""
	case "int":
		value = "N"
	}
	if d := shownDefault(f); d != "" {
		text += " [" + d + "]"
	}
	words := strings.Fields(strings.ReplaceAll(text, ",", ", "))
	return strings.ToUpper(value), strings.Join(words, " ")
}

// flagLines is a flag's name on one line and what it does, wrapped to 80
// columns, below.
func flagLines(f *pflag.Flag) string {
	name := "      --" + f.Name
	if f.Shorthand != "" {
		name = "  -" + f.Shorthand + ", --" + f.Name
	}
	value, text := flagParts(f)
	if value != "" {
		name += " " + value
	}
	const indent, width = 10, 80
	var b strings.Builder
	b.WriteString(name + "\n")
	column := 0
	for _, word := range strings.Fields(text) {
		switch {
		case column == 0:
			b.WriteString(strings.Repeat(" ", indent))
			column = indent
		case column+1+len(word) > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	b.WriteByte('\n')
	return b.String()
}

// shownDefault is a flag's default, "" where its text tells it or it is none.
func shownDefault(f *pflag.Flag) string {
	switch d := f.DefValue; {
	case d == "false", d == "[]", d == "-1", f.Value.Type() == "count":
		return ""
	default:
		return strings.Trim(d, "[]")
	}
}
