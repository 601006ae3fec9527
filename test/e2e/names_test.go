package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/encoding/charmap"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// oddNames are names that servers, shells and parsers stumble over.
var oddNames = []string{
	"plain.txt", " leading", "  two leading", "trailing ", "trailing two  ", "in ner", "in  ner  two", " all round ",
	"#hash", "a#b", "per%cent", "%41", "%2F", "semi;colon", "star*", "*", "[", "br[a]cket", "q?", "{a,b}",
	"-dash", "--help", "-l", "~", "~root", "$HOME", "`id`", "quote'", `double"quote`, `back\slash`, "am&p",
	"(paren)", "comma,", "a=b", "type=file;", "|pipe", "<lt>", "colon:", "a -> b", "ends -> ", "...", ".hidden",
	"Jan 01 12:00 date", "total 0", "UPPER.TXT", "Mixed.Txt", "tab\there", strings.Repeat("n", 255),
}

var latin1Names = []string{"S\xe3o Paulo.txt", "a\xe7\xf5es", "\xc1gua", "\xfc", "fran\xe7ais #1.csv", "\xe9t\xe9/d\xe9j\xe0.txt", "espa\xe7o \xe9 "}

var utf8Names = []string{"São Paulo.txt", "ações", "日本語.txt", "Ünïcödé", "🎉.txt", "de\u0301compose\u0301", "diretório/água.txt"}

// holds reports whether a server of the kind can have a file of this name, and
// lists it and sends it to an anonymous user.
func holds(kind, name string) bool {
	switch kind {
	case "vsftpd": // lists no names with a leading dot
		return name[0] != '.'
	case "pure-ftpd": // refuses those, and what "warez" hid behind
		return name[0] != '.' && !strings.ContainsAny(name, "\\\t")
	case "proftpd":
		return true
	}
	return !strings.ContainsAny(name, "*?\"<>|:\\\t") && !strings.HasSuffix(name, " ") && !strings.HasSuffix(name, ".")
}

// TestNames: what ls shows, cat opens, whatever the name, on every server that
// can hold it.
func TestNames(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			f := &fixture{}
			want := map[string][]string{} // folder → names, as they are to be shown
			put := func(folder, name, shown string) {
				if holds(kind, name) {
					f.text(folder+"/"+name, "content of "+shown)
					want[folder] = append(want[folder], shown)
				}
			}
			for _, n := range oddNames {
				put("odd", n, n)
			}
			for _, n := range latin1Names {
				shown, err := charmap.Windows1252.NewDecoder().String(n)
				if err != nil {
					t.Fatal(err)
				}
				put("latin1", n, shown)
			}
			for _, n := range utf8Names {
				if kind != "datasus" { // which knows no UTF-8
					put("utf8", n, n)
				}
			}
			s := serve(t, kind, f, options{})
			m := newPlace(t, raced).mount(s.url(""))
			for folder, names := range want {
				checkNames(t, m.path(folder), names)
			}
			m.settled()
		})
	}
}

// checkNames compares what ls shows below dir with the names, and what cat says
// of each with its content.
func checkNames(t *testing.T, dir string, want []string) {
	t.Helper()
	script := `find . -type f -print0 | while IFS= read -r -d '' f; do printf '%s\0' "${f#./}"; cat "$f"; printf '\0'; done`
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir = dir
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil || errs.Len() > 0 {
		t.Errorf("%v: %s", err, &errs)
	}
	parts := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	var got []string
	for pair := range slices.Chunk(parts, 2) {
		got = append(got, pair[0])
		if len(pair) == 2 && pair[1] != "content of "+pair[0] {
			t.Errorf("cat %q says %q", pair[0], pair[1])
		}
	}
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	for _, n := range want {
		if !slices.Contains(got, n) {
			t.Errorf("%q is not shown, or does not open", n)
		}
	}
	for _, n := range got {
		if !slices.Contains(want, n) {
			t.Errorf("%q is shown, but there is no such file", n)
		}
	}
	// The same by ls and cat alone, for the names that a line can hold.
	script = `ls -A1N | while IFS= read -r f; do [ -d "./$f" ] || cat -- "$f" >/dev/null || echo "$f"; done`
	cmd = exec.Command("bash", "-c", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("ls shows what cat does not open: %v %s", err, out)
	}
}

// TestNamedRoots: every name can be mounted as a folder, too.
func TestNamedRoots(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			folders := []string{"in ner", " leading", "#hash", "per%cent", "semi;colon", "br[a]cket", "-dash", "S\xe3o"}
			f := &fixture{}
			for i, n := range folders {
				f.text(n+"/inside.txt", fmt.Sprintf("number %d", i))
				f.text(n+"/sub folder/deep.txt", fmt.Sprintf("deep in %d", i))
			}
			s := serve(t, kind, f, options{})
			for i, n := range folders {
				m := newPlace(t, plain).mount(s.url(n))
				for path, want := range map[string]string{"inside.txt": "number %d", "sub folder/deep.txt": "deep in %d"} {
					b, err := os.ReadFile(m.path(path))
					if want = fmt.Sprintf(want, i); err != nil || string(b) != want {
						t.Errorf("%s below %q: %q, %v, want %q", path, n, b, err, want)
					}
				}
				m.unmount()
			}
		})
	}
}

// TestIgnoreCase: on a server that takes names in any case, so does the mount.
func TestIgnoreCase(t *testing.T) {
	f := &fixture{}
	f.text("Dados/PASP2301.DBC", "upper")
	f.text("Dados/pasp2302.dbc", "lower")
	s := serveTree(t, ftptest.DATASUS(), f.tree(), options{})
	m := newPlace(t, raced).mount(s.url("dados"))
	for path, want := range map[string]string{
		"PASP2301.DBC": "upper", "pasp2301.dbc": "upper", "PaSp2301.dBc": "upper",
		"PASP2302.DBC": "lower", "pasp2302.dbc": "lower",
	} {
		if b, err := os.ReadFile(m.path(path)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v, want %q", path, b, err, want)
		}
	}
	if got := names(t, m.dir); !slices.Equal(got, []string{"PASP2301.DBC", "pasp2302.dbc"}) {
		t.Errorf("ls shows %q", got)
	}
}
