package ftptest

import (
	"io"
	"testing"
	"time"

	"github.com/jlaffaye/ftp"
)

// BenchmarkRetr is how fast one transfer of made-up bytes is.
func BenchmarkRetr(b *testing.B) {
	s := New(b, Options{})
	const size = 1 << 30
	s.Tree().Generate("f", size, 1, time.Now())
	c, err := ftp.Dial(s.Addr())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Quit()
	if err := c.Login("anonymous", "x"); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	buf := make([]byte, 1<<20)
	for b.Loop() {
		r, err := c.Retr("f")
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, buf); n != size || err != nil {
			b.Fatal(n, err)
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGenerated is how fast bytes are made up.
func BenchmarkGenerated(b *testing.B) {
	c := Generated(1<<40, 1)
	buf := make([]byte, 256<<10)
	b.SetBytes(int64(len(buf)))
	var off int64
	for b.Loop() {
		c.ReadAt(buf, off)
		off += int64(len(buf))
	}
}

// BenchmarkList is the cost of a listing of 50 000 entries.
func BenchmarkList(b *testing.B) {
	s := New(b, Options{})
	s.Tree().Lazy("d", time.Now(), func(string) []Entry { return many })
	c, err := ftp.Dial(s.Addr())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Quit()
	if err := c.Login("anonymous", "x"); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if names, err := c.NameList("d"); err != nil || len(names) != len(many) {
			b.Fatal(len(names), err)
		}
	}
}

var many = func() []Entry {
	out := make([]Entry, 50_000)
	for i := range out {
		out[i] = Entry{Name: "f" + time.Duration(i).String(), ModTime: time.Unix(1e9, 0)}
	}
	return out
}()
