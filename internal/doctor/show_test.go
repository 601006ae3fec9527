package doctor

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
	"unicode"

	"github.com/mattn/go-runewidth"
)

func inColumns(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if w := runewidth.StringWidth(line); w > columns {
			t.Errorf("%d columns: %q", w, line)
		}
		if strings.ContainsFunc(line, unicode.IsControl) {
			t.Errorf("control characters: %q", line)
		}
	}
}

func TestFindingFits(t *testing.T) {
	long := strings.Repeat("/a-very-long-name", 20)
	for _, f := range []Finding{
		{Topic: "passthrough", Mark: Problem, Found: "short"},
		{Topic: "cache", Mark: Note, Found: long + " and " + long, Means: strings.Repeat("word ", 60), Do: "x"},
		{Topic: "server", Mark: OK, Found: strings.Repeat("日本語", 60) + " \x1b[31m red \xff"},
	} {
		var b bytes.Buffer
		Printer{W: &b}.Finding(f)
		inColumns(t, b.String())
		if !strings.HasPrefix(b.String(), "  "+string(f.Mark)) {
			t.Errorf("%q", &b)
		}
		var c bytes.Buffer
		Printer{W: &c, Colour: true}.Finding(f)
		if n := strings.Count(c.String(), "\x1b["); n != 2 {
			t.Errorf("%d changes of colour in %q", n, &c)
		}
	}
}

// A shell reads the command's words as they were.
func TestCommandIsPasted(t *testing.T) {
	long := strings.Repeat("abc\\'$ \"def%20", 20)
	for _, words := range [][]string{
		{"mirrorfs", "ftp://host/", "/mnt/host"},
		{"mirrorfs", "--connections", "2", "ftp://ftp.example.org/pub/a/longer/path/than/others", "/home/maria/mirrors/ftp.example.org"},
		{"mirrorfs", "--tls-ca", "/home/maria/my certs/it's $HOME.pem", "ftp://h/a;b&c?*", "", "~"},
		{"mirrorfs", "ftp://h/" + long, "/mnt/" + long},
		{"mirrorfs", strings.Repeat("é", 100), strings.Repeat("x", 76), strings.Repeat("y", 75), strings.Repeat("z", 300)},
		{"mirrorfs", strings.Repeat("\\", 200), "/mnt/" + strings.Repeat("日本", 60), "a\nb"},
	} {
		var b bytes.Buffer
		Printer{W: &b}.Command(words)
		inColumns(t, b.String())
		script := "mirrorfs() { printf '%s\\0' mirrorfs \"$@\"; }\n" + b.String()
		out, err := exec.Command("sh", "-c", script).Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, &b)
		}
		if got := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"); strings.Join(got, "|") != strings.Join(words, "|") {
			t.Errorf("a shell reads\n%q of\n%q\n%s", got, words, &b)
		}
	}
}
