package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestReadme holds the README's tables of options and exit codes to the program.
// MIRRORFS_UPDATE=1 writes them.
func TestReadme(t *testing.T) {
	const path = "../../README.md"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := between(t, string(b), "options", optionTable())
	text = between(t, text, "codes", codeTable())
	if text == string(b) {
		return
	}
	if os.Getenv("MIRRORFS_UPDATE") == "" {
		t.Fatal("the tables in README.md are out of date: MIRRORFS_UPDATE=1 go test -run TestReadme ./cmd/mirrorfs")
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// between replaces what stands between the marks of that name.
func between(t *testing.T, text, name, table string) string {
	before, rest, ok := strings.Cut(text, "<!-- "+name+": begin -->\n")
	_, after, ok2 := strings.Cut(rest, "<!-- "+name+": end -->")
	if !ok || !ok2 {
		t.Fatalf("README.md has no marks for %s", name)
	}
	return before + "<!-- " + name + ": begin -->\n" + table + "<!-- " + name + ": end -->" + after
}

func optionTable() string {
	var b strings.Builder
	b.WriteString("| Option | Default | |\n|---|---|---|\n")
	_, flags := newSettings()
	flags.SortFlags = false
	for _, g := range groups {
		flags.VisitAll(func(f *pflag.Flag) {
			if f.Hidden || f.Annotations[groupOf][0] != g {
				return
			}
			name := "`--" + f.Name + "`"
			if f.Shorthand != "" {
				name = "`-" + f.Shorthand + "`, " + name
			}
			_, text := pflag.UnquoteUsage(f)
			text, _, _ = strings.Cut(text, " (rclone")
			text, _, _ = strings.Cut(text, " (sshfs")
			text, _, _ = strings.Cut(text, "; rclone")
			if strings.Count(text, "(") > strings.Count(text, ")") {
				text += ")"
			}
			value := shownDefault(f)
			if f.Name == "no-fetch-for" { // too long for a table
				value = "crawlers"
			} else if value != "" {
				value = "`" + value + "`"
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", name, value, strings.ReplaceAll(text, "|", `\|`))
		})
	}
	return b.String()
}

func codeTable() string {
	var b strings.Builder
	b.WriteString("| Code | Meaning |\n|---|---|\n")
	for _, e := range exitCodes {
		fmt.Fprintf(&b, "| %d | %s |\n", e.code, e.text)
	}
	return b.String()
}
