package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/encoding/charmap"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// gutenberg is a mirror in the shape of Project Gutenberg's: books in folders by
// their digits, in one or more encodings, and covers.
func gutenberg(t testing.TB) *fixture {
	f := &fixture{}
	for i, book := range examplesNumbers(t, "gutenberg.py") {
		folder := strings.Join(strings.Split(book[:len(book)-1], ""), "/") + "/" + book
		text := bookText(i, "Book No. "+book)
		latin1, err := charmap.ISO8859_1.NewEncoder().String(text)
		if err != nil {
			t.Fatal(err)
		}
		switch i % 3 {
		case 0: // all forms there are
			f.text(folder+"/"+book+"-0.txt", "\ufeff"+text)
			f.text(folder+"/"+book+"-8.txt", latin1)
			f.text(folder+"/"+book+".txt", strings.ToValidUTF8(latin1, "?"))
		case 1: // the old form alone
			f.text(folder+"/"+book+"-8.txt", latin1)
		case 2:
			f.text(folder+"/"+book+".txt", text)
		}
		f.text(folder+"/"+book+"-h/"+book+"-h.htm", "<html></html>\n")
		f.add(folder+"/"+book+"-h.zip", ftptest.Generated(300_000, uint64(i)))
	}
	for i, book := range examplesNumbers(t, "images.py") {
		f.add(fmt.Sprintf("cache/epub/%s/pg%s.cover.small.jpg", book, book), ftptest.Bytes(jpeg(60+i, 90+i, 3_000+777*i)))
		f.add(fmt.Sprintf("cache/epub/%s/pg%s.cover.medium.jpg", book, book), ftptest.Bytes(jpeg(200, 300, 20_000)))
	}
	return f
}

// examplesNumbers are the books an example reads, taken from its source.
func examplesNumbers(t testing.TB, script string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(repository, "examples", script))
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`BOOKS = \[([0-9, ]+)\]`).FindSubmatch(b)
	if list == nil {
		t.Fatalf("%s has no BOOKS", script)
	}
	return strings.Split(string(list[1]), ", ")
}

func bookText(i int, title string) string {
	var b strings.Builder
	b.WriteString("The Project Gutenberg eBook\r\n\r\nThis eBook is for the use of anyone anywhere.\r\n\r\n")
	fmt.Fprintf(&b, "*** START OF THE PROJECT GUTENBERG EBOOK %s ***\r\n\r\n%s\r\n\r\n", strings.ToUpper(title), title)
	for line := range 8_000 + 1_500*i {
		fmt.Fprintf(&b, "Était-ce la ligne %d of book %d, with words of its own?\r\n", line*7919%100_003, i)
	}
	fmt.Fprintf(&b, "\r\n*** END OF THE PROJECT GUTENBERG EBOOK %s ***\r\n\r\nThe licence follows.\r\n", strings.ToUpper(title))
	return b.String()
}

// jpeg is as much of an image as a reader of its size needs, of so many bytes.
func jpeg(width, height, size int) []byte {
	b := []byte{0xff, 0xd8, 0xff, 0xe0, 0, 16, 'J', 'F', 'I', 'F', 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 0xff, 0xc0, 0, 11, 8}
	b = binary.BigEndian.AppendUint16(b, uint16(height))
	b = binary.BigEndian.AppendUint16(b, uint16(width))
	b = append(b, 1, 1, 0x11, 0)
	b = append(b, bytes.Repeat([]byte{0x55, byte(width)}, size/2)...)
	return append(b, 0xff, 0xd9)
}

// example runs a script on a folder and returns what it printed.
func example(t *testing.T, code int, script string, words ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, python(t), append([]string{filepath.Join(repository, "examples", script)}, words...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || cmd.ProcessState.ExitCode() != code {
		t.Fatalf("%s: %v, want code %d\n%s", script, err, code, out)
	}
	return string(out)
}

// TestExamples: the scripts under examples/ find on a mount what they find in a
// local copy, from a cold cache and from a warm one.
func TestExamples(t *testing.T) {
	f := gutenberg(t)
	local := f.disk(t)
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			s := serve(t, kind, f, options{})
			for _, c := range []struct {
				script string
				words  []string
				code   int
				last   string // line, for a copy and a mount alike
				reads  int    // files, each of which may cost one transfer
			}{
				{"gutenberg.py", nil, 0, "13 of 13 books", 13},
				{"gutenberg.py", []string{"11", "99999", "84"}, 1, "2 of 3 books", 2},
				{"images.py", nil, 0, "OK: 20", 20},
				{"images.py", []string{"cache/epub/11/pg11.cover.small.jpg", "cache/epub/11/none.jpg", "cache/none.jpg", "1/11/11-0.txt"}, 1, "DAMAGED: 1, NOT FOUND: 2, OK: 1", 2},
				{"together.py", []string{"--files", "500", "--threads", "64", "--tasks", "64"}, 0, fmt.Sprintf("%d of %d files", len(f.files), len(f.files)), len(f.files)},
			} {
				t.Run(c.script+" "+strings.Join(c.words, " "), func(t *testing.T) {
					want := example(t, c.code, c.script, append([]string{local}, c.words...)...)
					if !strings.HasSuffix(want, c.last+"\n") && c.code == 0 {
						t.Fatalf("on a local copy:\n%s", want)
					}
					s.reset()
					m := newPlace(t, raced).mount(s.url(""))
					for _, cache := range []string{"cold", "warm"} {
						got := example(t, c.code, c.script, append([]string{m.dir}, c.words...)...)
						if sortLines(strings.ReplaceAll(got, m.dir, "")) != sortLines(strings.ReplaceAll(want, local, "")) {
							t.Errorf("%s: %s", cache, difference(got, want))
						}
						if !strings.Contains(got, c.last) {
							t.Errorf("%s: the counts are not %q:\n%s", cache, c.last, got)
						}
					}
					m.settled()
					m.unmount()
					if n := s.sessions(); n > allowed(t) {
						t.Errorf("%d sessions at once, %d are allowed", n, allowed(t))
					}
					if o := s.overlaps(); len(o) > 0 {
						t.Errorf("commands during a transfer of the same session: %v", o)
					}
					// A listing somebody waits for may set a transfer aside, which goes on later.
					if n, most := count(s, "RETR"), c.reads+listings(s); n > most {
						t.Errorf("%d RETR for %d files and %d listings", n, c.reads, listings(s))
					}
				})
			}
		})
	}
}

// sortLines makes outputs of stdout and stderr together comparable.
func sortLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
