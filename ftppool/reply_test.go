package ftppool

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/textproto"
	"strings"
	"testing"
)

func TestReadReply(t *testing.T) {
	for in, want := range map[string]reply{
		"226 Done.\r\n":     {226, "Done."},
		"226 Done.\n":       {226, "Done."},
		"226\r\n":           {226, ""},
		"226 \r\n":          {226, ""},
		"\r\n\r\n226 x\r\n": {226, "x"},
		"211-Features:\r\n MDTM\r\n SIZE\r\n211 End\r\n":       {211, "Features:\n MDTM\n SIZE\nEnd"},
		"211-Features:\r\n211-MDTM\r\n211-SIZE\r\n211 End\r\n": {211, "Features:\nMDTM\nSIZE\nEnd"},
		"220-A\r\n331 not this one\r\n220-\r\n220 B\r\n":       {220, "A\n331 not this one\n\nB"},
		"220-A\r\n2200 bottles\r\n220\r\n":                     {220, "A\n2200 bottles\n"},
	} {
		r, _, err := readReply(bufio.NewReaderSize(strings.NewReader(in), 16))
		if err != nil || r != want {
			t.Errorf("%q: %+v, %v", in, r, err)
		}
	}
	for _, in := range []string{"", "22", "226", "hello\r\n", "2x6 no\r\n", "226x\r\n", "600 no\r\n", "099 no\r\n", "220-A\r\nB\r\n",
		strings.Repeat("\r\n", 100) + "226 x\r\n"} {
		if r, _, err := readReply(bufio.NewReader(strings.NewReader(in))); err == nil {
			t.Errorf("%q: read as %+v", in, r)
		}
	}
	// Neither a line nor a reply without end fills the memory.
	for _, endless := range []string{"220 xxxxxxxxxxxxxxx", "220-x\r\n"} {
		in := &counting{r: &repeating{text: endless}}
		_, _, err := readReply(bufio.NewReader(in))
		if !errors.Is(err, ErrProtocol) || in.n > maxReply+1<<16 {
			t.Errorf("%q: %v after %d bytes", endless, err, in.n)
		}
	}
}

type counting struct {
	r io.Reader
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

type repeating struct {
	text string
	at   int
}

func (r *repeating) Read(p []byte) (int, error) {
	n := copy(p, r.text[r.at:])
	r.at = (r.at + n) % len(r.text)
	if strings.HasPrefix(r.text, "220 ") && r.at == 0 {
		r.text = "y"
	}
	return n, nil
}

func TestNormal(t *testing.T) {
	for _, c := range []struct {
		command string
		in, out reply
	}{
		{"PASV", reply{227, "Entering Passive Mode 10,0,0,1,19,136"}, reply{227, "Entering Passive Mode (10,0,0,1,19,136)"}},
		{"PASV", reply{227, "=10,0,0,1,19,136"}, reply{227, "Entering Passive Mode (10,0,0,1,19,136)"}},
		{"PASV", reply{227, "Ok (10, 0, 0, 1, 19, 136)."}, reply{227, "Entering Passive Mode (10,0,0,1,19,136)"}},
		{"PASV", reply{227, "(256,0,0,1,19,136)"}, reply{500, "no address in (256,0,0,1,19,136)"}},
		{"PASV", reply{227, "soon"}, reply{500, "no address in soon"}},
		{"EPSV", reply{229, "ok (!!!6446!)"}, reply{229, "Entering Extended Passive Mode (|||6446|)"}},
		{"EPSV", reply{229, "ok (|||99999|)"}, reply{500, "no port in ok (|||99999|)"}},
		{"EPSV", reply{229, "ok"}, reply{500, "no port in ok"}},
		{"RETR x", reply{250, "Done"}, reply{226, "Done"}},
		{"RETR x", reply{125, "Begin"}, reply{150, "Begin"}},
		{"LIST", reply{550, "No"}, reply{550, "No"}},
		{"CWD x", reply{250, "Ok"}, reply{250, "Ok"}},
	} {
		if got := normal(c.command, c.in); got != c.out {
			t.Errorf("%s: %+v became %+v, want %+v", c.command, c.in, got, c.out)
		}
	}
}

// Whatever a server says, the library gets one reply it can read, or an error;
// nothing that is read is made up or read twice.
func FuzzControlRead(f *testing.F) {
	for _, in := range []string{
		"220 hi\r\n", "227 Entering 1,2,3,4,5,6\r\n226 x\r\n", "229 (|||1|)\r\n", "150 a\r\n150 b\r\n250 c\r\n",
		"211-F\r\n a\r\n211 E\r\n", "\r\n\r\n\xff\xfe", "421 bye", "226-\r\n226-\r\n226", "100 \r\n100 \r\n",
	} {
		for _, command := range []string{"", "PASV", "EPSV", "RETR x", "LIST", "FEAT", "USER x"} {
			f.Add([]byte(in), command)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, command string) {
		c := &control{in: bufio.NewReader(bytes.NewReader(in)), command: command, sent: make([]string, 100)}
		lib := textproto.NewReader(bufio.NewReader(c))
		for range 100 {
			code, text, err := lib.ReadResponse(0)
			var said *textproto.Error
			if err != nil && !errors.As(err, &said) {
				if strings.Contains(err.Error(), "short response") || strings.Contains(err.Error(), "invalid response") {
					t.Fatalf("the library could not read what it was given: %v", err)
				}
				return
			}
			if c.broken != nil && code == 0 {
				return // 421: the library gets no more than that
			}
			if code < 100 || code > 599 || len(text) > 4096 && command != "FEAT" && code != 211 {
				t.Fatalf("%d with %d bytes of text", code, len(text))
			}
			if len(c.hand) > 0 {
				t.Fatal("something is left of a reply that was read")
			}
		}
	})
}
