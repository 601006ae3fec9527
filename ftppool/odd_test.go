package ftppool

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// A directory whose listing can't be understood does not look empty: it is an
// error that shows a line of it. One that says in words that it is empty, or
// whose only names can't be shown, is.
func TestUnreadListings(t *testing.T) {
	const unix = "-rw-r--r-- 1 0 0 5 Mar 09 2024 "
	for name, c := range map[string]struct {
		text string
		kind error // nil: an empty directory, or
		has  []string
	}{
		"OpenVMS":         {"\r\nDirectory DISK$A:[PUB]\r\n\r\nFILE123.DAT;1\r\n64   4-MAR-2019 00:04 [USR,GROUP] (RWED,RWED,RWED,R)\r\n\r\nTotal of 1 file\r\n", listing.ErrUnread, nil},
		"AS/400":          {"QSYS            77824 02/23/24 15:09:55 *DIR       QOpenSys/\r\nQSYS            77824 02/23/24 15:09:55 *STMF      file\r\n", listing.ErrUnread, nil},
		"MVS":             {"Volume Unit    Referred Ext Used Recfm Lrecl BlkSz Dsorg Dsname\r\nWYOSPT 3420   2003/05/21  1  200  FB      80  8053  PS  48-MVS.FILE\r\n", listing.ErrUnread, nil},
		"unknown months":  {"-rw-r--r-- 1 0 0 5 xyz 09 2024 file\r\n", listing.ErrUnread, nil},
		"ls is refused":   {"ls: cannot open directory '.': Permission denied\r\n", fs.ErrPermission, nil},
		"ls is missing":   {"sh: /bin/ls: not executable\r\n", listing.ErrUnread, nil},
		"a web page":      {"<html>\r\n<body>Go away</body>\r\n</html>\r\n", listing.ErrUnread, nil},
		"empty, in words": {"No files found.\r\n", nil, nil},
		"total 0":         {"total 0\r\n", nil, nil},
		"a hidden name":   {unix + "a/b\r\n", nil, nil},
		"words before":    {"Welcome to the mirror\r\n" + unix + "f\r\n", nil, []string{"f"}},
	} {
		for _, sequential := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/sequential=%v", name, sequential), func(t *testing.T) {
				t.Parallel()
				s := ftptest.New(t, ftptest.Options{Files: map[string]string{"d/f": "x"}})
				s.On("LIST", "d", ftptest.Action{Listing: []byte(c.text)})
				p := newPool(t, s, func(c *Config) { c.Profile = &Profile{Learned: true, EPSV: true, Pipelining: !sequential} })
				l, err := p.List(patience(t), lookup, "d")
				if c.kind != nil {
					if err == nil {
						t.Fatalf("listed %q", names(l))
					}
					e := isError(t, err, c.kind)
					if line, _, _ := strings.Cut(strings.TrimSpace(c.text), "\r\n"); !strings.Contains(e.Error(), strings.ReplaceAll(line, `"`, `\"`)) {
						t.Errorf("%v does not show %q", e, line)
					}
				} else if err != nil || !slices.Equal(names(l), c.has) {
					t.Errorf("%v, %v", l, err)
				}
				if b := readAll(t, p, "d/f", 0); string(b) != "x" { // known by its path
					t.Errorf("read %q", b)
				}
				if n := p.Status().Logins; n != 1 {
					t.Errorf("%d logins", n)
				}
			})
		}
	}
}

// What MLSD says in a form of its own, LIST may say in another.
func TestUnreadMLSD(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{Profile: ftptest.ProFTPD(), Files: map[string]string{"d/f": "x"}})
	s.On("MLSD", "d", ftptest.Action{Listing: []byte("f,file,1,20240309\r\n")})
	if got := names(mustList(t, newPool(t, s), "d")); !slices.Equal(got, []string{"f"}) {
		t.Errorf("listed %q", got)
	}
}

// Words more than a command's answer, as servers were seen to say them. None
// costs a byte, and none is taken for the answer to what is asked next.
func TestStrayReplies(t *testing.T) {
	for name, arm := range map[string]func(s *ftptest.Server){
		"226 twice after a transfer": func(s *ftptest.Server) {
			s.On("RETR", "*", ftptest.Action{Final: "226 Transfer complete.\r\n226 Transfer complete."})
		},
		"226 twice after a listing": func(s *ftptest.Server) {
			s.On("LIST", "*", ftptest.Action{Final: "226 Done.\r\n226 Done."})
		},
		"250 and 226 after a transfer": func(s *ftptest.Server) {
			s.On("RETR", "*", ftptest.Action{Final: "250 Done.\r\n226 Closing."})
		},
		"200 for CWD":            func(s *ftptest.Server) { s.On("CWD", "", ftptest.Reply(200, "OK")) },
		"a path without quotes":  func(s *ftptest.Server) { s.On("PWD", "*", ftptest.Reply(257, "/ is the current directory")) },
		"a path in 200":          func(s *ftptest.Server) { s.On("PWD", "*", ftptest.Reply(502, "Not here.")) },
		"FEAT before TYPE only":  func(s *ftptest.Server) { s.On("FEAT", "*", ftptest.Reply(530, "Not logged in.")) },
		"SIZE with a unit":       func(s *ftptest.Server) { s.On("SIZE", "file", ftptest.Reply(213, "10 bytes")) },
		"SIZE refused for ASCII": func(s *ftptest.Server) { s.Update(func(o *ftptest.Options) { o.SizeNeedsBinary = true }) },
		"MDTM with a fraction":   func(s *ftptest.Server) { s.On("MDTM", "file", ftptest.Reply(213, "20240102030405.678")) },
		"MDTM without sense":     func(s *ftptest.Server) { s.On("MDTM", "file", ftptest.Reply(213, "yesterday")) },
		"PASV with zeros": func(s *ftptest.Server) {
			s.Update(func(o *ftptest.Options) {
				o.PASVHost, o.Replies = "0.0.0.0", map[string]string{"EPSV": "502 No."}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := ftptest.NewTree()
			tree.WriteFile("file", []byte("0123456789"), someTime)
			s := ftptest.New(t, ftptest.Options{Tree: tree})
			arm(s)
			p := newPool(t, s)
			for range 3 {
				if got := names(mustList(t, p, "")); !slices.Equal(got, []string{"file"}) {
					t.Errorf("listed %q", got)
				}
			}
			for range 3 {
				if b := readAll(t, p, "file", 0); string(b) != "0123456789" {
					t.Errorf("read %q", b)
				}
				if b := readAll(t, p, "file", 4); string(b) != "456789" {
					t.Errorf("read %q", b)
				}
				if e, err := p.Stat(patience(t), lookup, "file"); err != nil || e.Size != 10 || e.Type != listing.File {
					t.Errorf("%+v, %v", e, err)
				}
			}
			if _, err := p.Stat(patience(t), lookup, "none"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a missing file: %v", err)
			}
		})
	}
}

// MLST as servers send it that others could not read (rclone issues 6879, 8368
// and 8403), and servers that refuse it in words for what is missing.
func TestOddMLST(t *testing.T) {
	for name, reply := range map[string]string{
		"junk after the facts":     "250-Begin\r\n type=file;size=10;modify=20240102030405;UNIX.mode=0644;unique=1g2; d/file\r\nw\r\nw\r\n.\r\nc\r\n250 End",
		"two spaces":               "250-Listing\r\n  size=10;type=file;modify=20240102030405; /d/file\r\n250 End",
		"no space":                 "250-Listing\r\nsize=10;type=file;modify=20240102030405; /d/file\r\n250 End",
		"the code in front":        "250-size=10;type=file;modify=20240102030405; /d/file\r\n250 End",
		"an empty line":            "250-\r\n Size=10;Modify=20240102030405.000;Type=file; file\r\n\r\n250 Done",
		"no name":                  "250-Status\r\n type=file;size=10;modify=20240102030405;\r\n250 End",
		"nothing of use":           "250-Status\r\nUNIX.mode=0777;/\r\n250 End",
		"refused as a bad command": "501 Not a valid pathname.",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := ftptest.NewTree()
			tree.WriteFile("d/file", []byte("0123456789"), someTime)
			s := ftptest.New(t, ftptest.Options{Profile: ftptest.ProFTPD(), Tree: tree})
			s.On("MLST", "d/file", ftptest.Action{Reply: reply})
			p := newPool(t, s)
			if e, err := p.Stat(patience(t), lookup, "d/file"); err != nil || e.Size != 10 || e.Type != listing.File || e.MTime != listing.Exactly(someTime) {
				t.Errorf("%+v, %v", e, err)
			}
			if b := readAll(t, p, "d/file", 4); string(b) != "456789" {
				t.Errorf("read %q", b)
			}
		})
	}
}

// A listing command without a path is sent without the space that the library
// puts behind it; Solaris and Synology know no command "LIST ".
func TestBareListing(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	for verb, want := range map[string]string{"LIST": "LIST\r\n", "MLSD": "MLSD\r\n"} {
		c := &control{Conn: client, listVerb: verb}
		go func() { _, _ = c.Write([]byte("LIST \r\n")) }()
		if got, err := bufio.NewReader(server).ReadString('\n'); got != want || err != nil {
			t.Errorf("sent %q, %v; want %q", got, err, want)
		}
	}
}
