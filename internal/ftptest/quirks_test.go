package ftptest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"testing"
	"time"
)

// talk opens a control connection of its own and reads the banner.
func talk(t *testing.T, s *Server) *textproto.Conn {
	t.Helper()
	raw, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	raw.SetDeadline(time.Now().Add(30 * time.Second))
	c := textproto.NewConn(raw)
	t.Cleanup(func() { c.Close() })
	if _, _, err := c.ReadResponse(220); err != nil {
		t.Fatal(err)
	}
	ask(t, c, "USER anonymous", 0)
	ask(t, c, "PASS x", 230)
	return c
}

// ask sends a command and expects a reply with this code (0: any).
func ask(t *testing.T, c *textproto.Conn, command string, code int) string {
	t.Helper()
	if err := c.PrintfLine("%s", command); err != nil {
		t.Fatal(err)
	}
	got, text, err := c.ReadResponse(0)
	if err != nil || code != 0 && got != code {
		t.Errorf("%s: %d %s, %v; want %d", command, got, text, err, code)
	}
	return text
}

func TestQuirksOfReplies(t *testing.T) {
	tree := sample()
	tree.WriteFile(`say "hi"/x`, nil, mtime)
	s := New(t, Options{Tree: tree, LoginDir: "pub"})
	c := talk(t, s)
	if got := ask(t, c, "PWD", 257); !strings.HasPrefix(got, `"/pub" `) {
		t.Errorf("PWD after a login into a folder: %s", got)
	}
	ask(t, c, `CWD /say "hi"`, 250)
	if got := ask(t, c, "PWD", 257); !strings.HasPrefix(got, `"/say ""hi""" `) {
		t.Errorf("PWD: %s", got)
	}
	ask(t, c, "CDUP", 250)
	ask(t, c, "SIZE pub/big.bin", 213)
	ask(t, c, "SIZE PUB/BIG.BIN", 550)
	ask(t, c, "RETR README", 425) // without EPSV
	ask(t, c, "STAT README", 213)
	ask(t, c, "NONSENSE", 500)
	ask(t, c, "MLST README", 500)
	ask(t, c, "PORT 127,0,0,1,4,1", 502)
	ask(t, c, "MODE Z", 504)
	ask(t, c, "EPSV ALL", 200)

	s.Update(func(o *Options) {
		o.Replies = map[string]string{"REST": "502 No.", "MDTM": "500 What?", "OPTS UTF8": "501 No.", "EPSV": "500 No."}
		o.IgnoreCase, o.PASVNoParens, o.PASVHost, o.Features = true, true, "192.0.2.9", []string{"size", "utf8"}
	})
	ask(t, c, "REST 5", 502)
	ask(t, c, "MDTM README", 500)
	ask(t, c, "opts utf8 on", 501)
	ask(t, c, "OPTS MLST", 200)
	ask(t, c, "EPSV", 500)
	ask(t, c, "SIZE PUB/BIG.BIN", 213)
	ask(t, c, "SIZE PUB/A\xc7\xc3O.TXT", 213)
	if got := ask(t, c, "FEAT", 211); !strings.Contains(got, "\n size\n utf8\n") {
		t.Errorf("FEAT: %q", got)
	}
	if got := ask(t, c, "PASV", 227); !strings.HasPrefix(got, "Entering Passive Mode 192,0,2,9,") {
		t.Errorf("PASV: %s", got)
	}
	ask(t, c, "QUIT", 221)
}

func TestDataPortsThatAnswerNobody(t *testing.T) {
	s := New(t, Options{Profile: Profile{Name: "firewalled", Banner: "220 hi", EPSVSilent: true, PASVDead: true}})
	c := talk(t, s)
	var port int
	if _, err := fmt.Sscanf(ask(t, c, "EPSV", 229), "Entering Extended Passive Mode (|||%d|)", &port); err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	conn, err := net.DialTimeout("tcp", addr, 300*time.Millisecond)
	if err == nil {
		conn.Close()
	}
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("a silent port answered: %v", err)
	}
	ask(t, c, "PASV", 227) // closes the silent one
	if conn, err := net.DialTimeout("tcp", addr, 10*time.Second); err == nil {
		conn.Close()
		t.Error("the silent port is still there")
	}
	ask(t, c, "LIST", 425)
}

func TestIdleSessionsAreClosed(t *testing.T) {
	s := New(t, Options{})
	c := talk(t, s)
	s.Update(func(o *Options) { o.IdleTimeout = 50 * time.Millisecond })
	ask(t, c, "NOOP", 200) // from here on
	if code, _, err := c.ReadResponse(0); code != 421 || err != nil {
		t.Errorf("%d, %v", code, err)
	}
	if err := s.AwaitIdle(within(t)); err != nil {
		t.Error(err)
	}
}

func TestNoBannerAndEndlessReplies(t *testing.T) {
	s := New(t, Options{})
	s.Once("CONNECT", "*", Action{Silent: true})
	raw, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if err := s.Await(within(t), func() bool { return s.Count("CONNECT") == 1 }); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(raw, "NOOP\r\n") // what comes back first answers this, not the connection
	if line, err := bufio.NewReader(raw).ReadString('\n'); err != nil || strings.HasPrefix(line, "220") {
		t.Errorf("%q, %v", line, err)
	}
	s.Once("NOOP", "*", Action{Endless: true})
	c := talk(t, s)
	if err := c.PrintfLine("NOOP"); err != nil {
		t.Fatal(err)
	}
	for range 10_000 {
		if line, err := c.ReadLine(); err != nil || !strings.HasPrefix(line, "220-") {
			t.Fatalf("%q, %v", line, err)
		}
	}
}

func TestSlotsLinger(t *testing.T) {
	s := New(t, Options{MaxSessions: 1, SlotLinger: 200 * time.Millisecond})
	c := talk(t, s)
	begin := time.Now()
	ask(t, c, "QUIT", 221)
	if err := s.AwaitIdle(within(t)); err != nil {
		t.Fatal(err)
	}
	for refused := false; ; refused = true {
		raw, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(raw).ReadString('\n')
		raw.Close()
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "220") {
			if !refused && time.Since(begin) < 200*time.Millisecond {
				t.Error("a slot was free at once")
			}
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestEarlyFinalReplyLosesNoByte(t *testing.T) {
	p := Vsftpd()
	p.EarlyFinal = true
	s, want := bigServer(t, Options{Profile: p})
	c := dial(t, s)
	for _, from := range []int{0, size / 3, size} {
		if got := read(t, c, "f", uint64(from)); !bytes.Equal(got, want[from:]) {
			t.Errorf("from %d: %d bytes", from, len(got))
		}
	}
	if o := s.Overlaps(); len(o) != 0 {
		t.Errorf("overlaps: %v", o)
	}
}

func TestAborEndsATransfer(t *testing.T) {
	s, _ := bigServer(t, Options{})
	stalled := s.Once("RETR", "f", StallAt(10, nil))
	c := talk(t, s)
	var port int
	if _, err := fmt.Sscanf(ask(t, c, "EPSV", 229), "Entering Extended Passive Mode (|||%d|)", &port); err != nil {
		t.Fatal(err)
	}
	data, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	ask(t, c, "RETR f", 150)
	if err := stalled.Await(within(t), 1); err != nil {
		t.Fatal(err)
	}
	ask(t, c, "ABOR", 426)
	if code, _, err := c.ReadResponse(0); code != 226 || err != nil {
		t.Errorf("ABOR: %d, %v", code, err)
	}
	ask(t, c, "NOOP", 200)
}

func TestListingLines(t *testing.T) {
	now := time.Date(2024, 3, 20, 0, 0, 0, 0, time.UTC)
	file := Entry{Name: "a b.TXT", Content: Generated(619098, 1), ModTime: mtime}
	old := Entry{Name: "old", ModTime: mtime.AddDate(-1, 0, 0), Perm: 0o4600 | 0o40}
	dir := Entry{Name: "d", Kind: Dir, ModTime: mtime}
	link := Entry{Name: "l", Kind: Symlink, Target: "../x", ModTime: mtime}
	huge := Entry{Name: "h", ListSize: "-1", ModTime: mtime}
	dos4 := Profile{Style: DOS4}
	sao := DATASUS()
	for _, c := range []struct {
		p    Profile
		e    Entry
		want string
	}{
		{Vsftpd(), file, "-rw-r--r--    1 ftp      ftp            619098 Mar 07 15:04 a b.TXT"},
		{Vsftpd(), old, "-rw-r-----    1 ftp      ftp                 0 Mar 07  2023 old"},
		{Vsftpd(), dir, "drwxr-xr-x    1 ftp      ftp              4096 Mar 07 15:04 d"},
		{Vsftpd(), link, "lrwxrwxrwx    1 ftp      ftp                 0 Mar 07 15:04 l -> ../x"},
		{Vsftpd(), huge, "-rw-r--r--    1 ftp      ftp                -1 Mar 07 15:04 h"},
		{ProFTPD(), file, "-rw-r--r--    1 ftp      ftp            619098 Mar  7 15:04 a b.TXT"},
		{Profile{NoGroup: true, ModeSuffix: "+", TimeShift: time.Hour}, file, "-rw-r--r--+    1 ftp            619098 Mar 07 16:04 a b.TXT"},
		{sao, file, "03-07-24  12:04PM               619098 a b.TXT"},
		{sao, dir, "03-07-24  12:04PM       <DIR>          d"},
		{dos4, file, "03-07-2024  03:04PM               619098 a b.TXT"},
		{Vsftpd(), Entry{Name: "x", Line: "anything"}, "anything"},
	} {
		if got := string(c.p.listLine(nil, &c.e, now)); got != c.want+"\r\n" {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
	slink := ProFTPD()
	slink.Slink = true
	for _, c := range []struct {
		p    Profile
		e    Entry
		want string
	}{
		{PureFTPd(), file, "type=file;size=619098;modify=20240307150400;UNIX.mode=0644;unique="},
		{PureFTPd(), dir, "type=dir;modify=20240307150400;UNIX.mode=0755;unique="},
		{PureFTPd(), link, "type=OS.unix=slink:../x;size=4;modify="},
		{ProFTPD(), link, "modify=20240307150400;perm=r;size=4;type=OS.unix=symlink;unique="},
		{slink, link, "modify=20240307150400;perm=r;size=4;type=OS.unix=slink:../x;unique="},
		{Profile{Facts: []string{"type"}}, file, "type=file; a b.TXT"},
		{Profile{Facts: []string{"size", "modify"}}, Entry{Name: "n", ListSize: "-", ModTime: mtime}, "modify=20240307150400; n"},
		{Profile{}, Entry{Name: "n", Facts: "odd"}, "odd n"},
	} {
		if got := string(c.p.factsLine(nil, &c.e, "", c.e.Name)); !strings.HasPrefix(got, c.want) {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}
