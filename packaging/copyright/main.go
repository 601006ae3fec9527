// Command copyright prints whose work the program is made of, and under which
// licenses, as a Debian copyright file: mirrorfs itself, the Go library, and every
// module that a package of it comes from. It fails for a license it does not know,
// so that none gets in unseen.
//
//	copyright GOARCH    of the program for Linux on GOARCH
package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: copyright GOARCH")
		os.Exit(2)
	}
	text, err := copyright(cmp.Or(os.Getenv("GO"), "go"), os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "copyright:", err)
		os.Exit(1)
	}
	os.Stdout.WriteString(text)
}

// apache stands for the text of a license that many have, and that this project's
// own LICENSE is.
const apache = "The text is in the file LICENSE; on Debian systems in\n/usr/share/common-licenses/Apache-2.0."

// module is somebody's work that is part of the program.
type module struct{ path, version, dir string }

func copyright(tool, arch string) (string, error) {
	modules, err := linked(tool, arch)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n" +
		"Upstream-Name: mirrorfs\n" +
		"Source: https://github.com/mirrorfs/mirrorfs\n" +
		"Comment:\n The program is linked statically. \"Files\" names the modules that are in it.\n" +
		"\nFiles: *\nCopyright: the mirrorfs authors\nLicense: Apache-2.0\n " + strings.ReplaceAll(apache, "\n", "\n ") + "\n")
	for _, m := range modules {
		if err := m.stanza(&b); err != nil {
			return "", fmt.Errorf("%s: %w", m.path, err)
		}
	}
	return b.String(), nil
}

// linked are the modules of the packages that the program is linked from, and Go.
func linked(tool, arch string) ([]module, error) {
	run := func(args ...string) (string, error) {
		cmd := exec.Command(tool, args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err
	}
	root, err := run("env", "GOROOT")
	if err != nil {
		return nil, err
	}
	version, err := run("env", "GOVERSION")
	if err != nil {
		return nil, err
	}
	list, err := run("list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}", "./cmd/mirrorfs")
	if err != nil {
		return nil, err
	}
	modules := []module{{"the Go standard library and runtime", version, root}}
	lines := slices.Compact(slices.Sorted(strings.Lines(list + "\n")))
	for _, line := range lines {
		if f := strings.Fields(line); len(f) == 3 {
			modules = append(modules, module{f[0], f[1], f[2]})
		}
	}
	return modules, nil
}

// stanza writes what is known of a module: its licenses, in full but for apache, and
// its notices.
func (m module) stanza(b *strings.Builder) error {
	texts, err := texts(m.dir)
	if err != nil {
		return err
	}
	var names, holders []string
	for _, t := range texts {
		name := license(t)
		if name == "" {
			return errors.New("its license is not known here:\n" + t)
		}
		names = append(names, name)
		holders = append(holders, holdersOf(t)...)
	}
	if len(holders) == 0 {
		holders = []string{"the authors of " + m.path}
	}
	slices.Sort(names)
	fmt.Fprintf(b, "\nFiles: %s\nCopyright: %s\nComment: %s\nLicense: %s\n",
		strings.ReplaceAll(m.path, " ", "_"), strings.Join(holders, "\n "), m.version, strings.Join(slices.Compact(names), " and "))
	for i, t := range texts {
		if license(t) == "Apache-2.0" {
			texts[i] = apache
		}
	}
	if notice, err := os.ReadFile(filepath.Join(m.dir, "NOTICE")); err == nil {
		texts = append(texts, string(notice))
	}
	for _, line := range strings.Split(strings.TrimSpace(strings.Join(texts, "\n\n")), "\n") {
		line = strings.TrimRight(strings.ReplaceAll(line, "\f", ""), " \t\r")
		b.WriteString(" " + cmp.Or(line, ".") + "\n")
	}
	return nil
}

// texts are the licenses in a module's folder.
func texts(dir string) ([]string, error) {
	var all []string
	for _, pattern := range []string{"[Ll][Ii][Cc][Ee][Nn][SsCc][Ee]*", "COPYING*", "UNLICENSE*"} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, err
		}
		for _, p := range paths {
			t, err := os.ReadFile(p)
			if err != nil {
				return nil, err
			}
			all = append(all, string(bytes.ToValidUTF8(t, []byte("?"))))
		}
	}
	if len(all) == 0 {
		return nil, errors.New("no license in " + dir)
	}
	return all, nil
}

// license tells which one a text is, "" for none of those known.
func license(text string) string {
	words := strings.Join(strings.Fields(text), " ")
	has := func(s string) bool { return strings.Contains(words, s) }
	switch {
	case has("Apache License Version 2.0"):
		return "Apache-2.0"
	case has("Mozilla Public License Version 2.0"), has("Mozilla Public License, version 2.0"):
		return "MPL-2.0"
	case has("Permission is hereby granted, free of charge, to any person obtaining a copy"):
		return "Expat"
	case has("Redistribution and use in source and binary forms") && has("Neither the name"):
		return "BSD-3-clause"
	case has("Redistribution and use in source and binary forms"):
		return "BSD-2-clause"
	case has("Permission to use, copy, modify, and/or distribute this software"), has("Permission to use, copy, modify, and distribute this software"):
		return "ISC"
	case has("This is free and unencumbered software released into the public domain"):
		return "Unlicense"
	}
	return ""
}

var holder = regexp.MustCompile(`(?im)^\s*copyright\s+(?:\(c\)|©)?\s*((?:\d{4}).*|the .*)$`)

// holdersOf are the lines of a license that say whose work it is.
func holdersOf(text string) []string {
	var all []string
	for _, m := range holder.FindAllStringSubmatch(text, -1) {
		if h := strings.TrimSpace(m[1]); !slices.Contains(all, h) {
			all = append(all, h)
		}
	}
	return all
}
