package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The manual pages are made from the commands as they are, and from what
// manpages.go adds: mirrorfs(1), a page for each command, mount.fuse.mirrorfs(8).

func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual pages below DIR, for packages",
		Args:   cobra.ExactArgs(1),
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			date, err := pageDate()
			if err != nil {
				return failf(exitUsage, "%w", err)
			}
			for name, page := range manPages(cmd.Root(), date) {
				path := filepath.Join(args[0], "man"+name[len(name)-1:], name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					return failf(exitFailure, "%w", err)
				}
				if err := os.WriteFile(path, page, 0o644); err != nil {
					return failf(exitFailure, "%w", err)
				}
			}
			return nil
		},
	}
}

// pageDate is the pages' date: that of SOURCE_DATE_EPOCH, if set, so that what is
// built again is the same.
func pageDate() (string, error) {
	now := time.Now()
	if s := os.Getenv("SOURCE_DATE_EPOCH"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return "", fmt.Errorf("SOURCE_DATE_EPOCH=%s is not a number of seconds", s)
		}
		now = time.Unix(n, 0)
	}
	return now.UTC().Format(time.DateOnly), nil
}

// manPages returns all pages by their files' names.
func manPages(root *cobra.Command, date string) map[string][]byte {
	pages := map[string][]byte{
		"mirrorfs.1":            rootPage(root, date),
		"mirrorfs-mount.1":      []byte(".so man1/mirrorfs.1\n"),
		"mount.fuse.mirrorfs.8": helperPage(root, date),
		"mount.mirrorfs.8":      []byte(".so man8/mount.fuse.mirrorfs.8\n"),
	}
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() && c.Name() != "mount" {
			pages[pageOf(c)+".1"] = commandPage(c, date)
		}
	}
	return pages
}

func pageOf(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

func newPage(name string, section int, date, what string) *roff {
	r := new(roff)
	fmt.Fprintf(r, ".TH %s %d %s \"mirrorfs %s\" mirrorfs\n", source.Replace(strings.ToUpper(name)), section, date, version())
	r.section("name")
	r.fill(name + " - " + lowerFirst(what))
	return r
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }

func rootPage(root *cobra.Command, date string) []byte {
	r := newPage("mirrorfs", 1, date, root.Short)
	r.section("synopsis")
	r.usage(root.Use)
	r.usage("mirrorfs COMMAND ...")
	r.section("description")
	r.paragraphs(about)
	r.section("commands")
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() && c.Name() != "mount" {
			r.item(bold(pageOf(c))+"(1)", c.Short+".")
		}
	}
	r.options(root, "options", "Other options")
	r.item(bold("-h")+", "+bold("--help"), "tell all this in short; of each command too")
	r.item(bold("--version"), "print the version")
	r.section("exit status")
	for _, e := range exitCodes {
		r.item(bold(strconv.Itoa(e.code)), e.text)
	}
	for _, s := range rootSections {
		r.facts(s)
	}
	r.section("see also")
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() && c.Name() != "mount" {
			r.line(bold(pageOf(c)) + "(1),")
		}
	}
	r.line(`\fBmount.fuse.mirrorfs\fR(8), \fBfusermount3\fR(1), \fBfuse\fR(8)`)
	return r.Bytes()
}

func commandPage(c *cobra.Command, date string) []byte {
	r := newPage(pageOf(c), 1, date, c.Short)
	r.section("synopsis")
	var parts []*cobra.Command
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			parts = append(parts, sub)
			r.usage(usageLine(sub))
		}
	}
	if len(parts) == 0 {
		r.usage(usageLine(c))
	}
	r.section("description")
	r.paragraphs(description(c))
	r.options(c, "options", "")
	if len(parts) > 0 {
		r.section("commands")
	}
	said := strings.Split(description(c), "\n\n")
	for _, sub := range parts {
		r.subsection(sub.Name())
		own := slices.DeleteFunc(strings.Split(description(sub), "\n\n"), func(p string) bool { return slices.Contains(said, p) })
		r.paragraphs(strings.Join(own, "\n\n"))
		r.options(sub, "", "")
	}
	r.section("exit status")
	r.paragraphs("0 when all was done. What else it may be is the same for all commands, see mirrorfs(1).")
	r.section("see also")
	r.line(`\fBmirrorfs\fR(1)`)
	return r.Bytes()
}

func description(c *cobra.Command) string {
	if c.Long != "" {
		return c.Long
	}
	return c.Short + "."
}

// options writes a command's flags, if it has any, as a section: those of a group
// below its title, the others below rest. Each may be "" for no title.
func (r *roff) options(c *cobra.Command, section, rest string) {
	for _, group := range append(groups[:len(groups):len(groups)], "") {
		title := group
		if group == "" {
			title = rest
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Hidden || groupFor(f) != group || f.Name == "help" {
				return
			}
			if section != "" {
				r.section(section)
				section = ""
			}
			if title != "" {
				r.subsection(title)
				title = ""
			}
			r.flag(f)
		})
	}
}

func (r *roff) flag(f *pflag.Flag) {
	value, text := flagParts(f)
	term := bold("--" + f.Name)
	if f.Shorthand != "" {
		term = bold("-"+f.Shorthand) + ", " + term
	}
	if value != "" {
		term += " " + italic(value)
	}
	r.item(term, text)
}
