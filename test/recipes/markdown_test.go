package recipes

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// block is a fenced block of a Markdown file.
type block struct {
	heading string // the nearest above
	line    int
	before  string // the paragraph above, on one line
	lang    string // the first word behind the fence
	text    string
}

// blocks are all blocks of a file of the project, in order.
func blocks(t *testing.T, name string) []block {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(repository, name))
	if err != nil {
		t.Fatal(err)
	}
	var all []block
	var in *block
	var heading string
	var paragraph []string
	blank := false
	for i, line := range strings.Split(string(b), "\n") {
		switch {
		case in != nil && line == "```":
			all = append(all, *in)
			in, paragraph = nil, nil
		case in != nil:
			in.text += line + "\n"
		case strings.HasPrefix(line, "```"):
			lang, _, _ := strings.Cut(line[3:], " ")
			in = &block{heading: heading, line: i + 1, before: strings.Join(paragraph, " "), lang: lang}
		case strings.HasPrefix(line, "#"):
			heading, paragraph = strings.TrimLeft(line, "# "), nil
		case line == "":
			blank = true
			continue
		default:
			if blank {
				paragraph = nil
			}
			paragraph = append(paragraph, line)
		}
		blank = false
	}
	if in != nil {
		t.Fatalf("%s:%d: a block without an end", name, in.line)
	}
	return all
}

var (
	saves   = regexp.MustCompile("[Ss]ave this as `([^`]+)`")
	appends = regexp.MustCompile("[Aa]dd this to `([^`]+)`")
)

// file is the file that the text says a block is, or is to be added to.
func (b block) file() (path string, add, ok bool) {
	if m := saves.FindStringSubmatch(b.before); m != nil {
		return m[1], false, true
	}
	if m := appends.FindStringSubmatch(b.before); m != nil {
		return m[1], true, true
	}
	return "", false, false
}
