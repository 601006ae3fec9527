package ftptest

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"
)

// listLine appends one line of LIST.
func (p *Profile) listLine(b []byte, e *Entry, now time.Time) []byte {
	if e.Line != "" {
		return append(append(b, e.Line...), "\r\n"...)
	}
	t := e.ModTime.Add(p.TimeShift)
	if p.Zone != nil {
		t = t.In(p.Zone)
	} else {
		t = t.UTC()
	}
	size := strconv.FormatInt(e.Size(), 10)
	if e.Kind == Dir {
		size = "4096"
	}
	if e.ListSize != "" {
		size = e.ListSize
	}
	switch p.Style {
	case DOS2, DOS4:
		if p.Style == DOS2 {
			b = t.AppendFormat(b, "01-02-06  03:04PM")
		} else {
			b = t.AppendFormat(b, "01-02-2006  03:04PM")
		}
		if e.Kind == Dir {
			b = append(b, "       <DIR>          "...)
		} else {
			for range 21 - len(size) {
				b = append(b, ' ')
			}
			b = append(append(b, size...), ' ')
		}
		b = append(b, e.Name...)
	default:
		b = append(b, modeString(e)...)
		b = append(b, p.ModeSuffix...)
		b = append(b, "    1 ftp      "...)
		if !p.NoGroup {
			b = append(b, "ftp      "...)
		}
		for range 12 - len(size) {
			b = append(b, ' ')
		}
		b = append(append(b, size...), ' ')
		date := "Jan 02 "
		if p.SpaceDay {
			date = "Jan _2 "
		}
		b = t.AppendFormat(b, date)
		if age := now.Sub(t); age > 182*24*time.Hour || age < -time.Hour {
			b = t.AppendFormat(b, " 2006 ")
		} else {
			b = t.AppendFormat(b, "15:04 ")
		}
		b = append(b, e.Name...)
		if e.Kind == Symlink {
			b = append(append(b, " -> "...), e.Target...)
		}
	}
	return append(b, "\r\n"...)
}

func modeString(e *Entry) string {
	const letters = "rwxrwxrwx"
	m := []byte("----------")
	m[0] = [...]byte{File: '-', Dir: 'd', Symlink: 'l'}[e.Kind]
	perm := e.perm()
	for i := range 9 {
		if perm>>(8-i)&1 != 0 {
			m[i+1] = letters[i]
		}
	}
	return string(m)
}

func (e *Entry) perm() uint32 {
	switch {
	case e.Perm != 0:
		return e.Perm
	case e.Kind == Dir:
		return 0o755
	case e.Kind == Symlink:
		return 0o777
	}
	return 0o644
}

// factsLine appends the facts of RFC 3659 and the name, without a line end. typ
// stands for the type when not "".
func (p *Profile) factsLine(b []byte, e *Entry, typ, name string) []byte {
	if e.Facts != "" {
		return append(append(append(b, e.Facts...), ' '), name...)
	}
	facts := p.Facts
	if facts == nil {
		facts = []string{"type", "size", "modify", "perm", "unix.mode"}
	}
	for _, fact := range facts {
		switch strings.ToLower(fact) {
		case "type":
			switch {
			case typ != "":
			case e.Kind == Dir:
				typ = "dir"
			case e.Kind == Symlink && p.Slink:
				typ = "OS.unix=slink:" + e.Target
			case e.Kind == Symlink:
				typ = "OS.unix=symlink"
			default:
				typ = "file"
			}
			b = append(append(append(b, "type="...), typ...), ';')
		case "size":
			switch {
			case e.Kind == Dir || e.ListSize == "-":
			case e.ListSize != "":
				b = append(append(append(b, "size="...), e.ListSize...), ';')
			case e.Kind == Symlink || e.Target != "":
				b = append(strconv.AppendInt(append(b, "size="...), int64(len(e.Target)), 10), ';')
			default:
				b = append(strconv.AppendInt(append(b, "size="...), e.Size(), 10), ';')
			}
		case "modify":
			b = e.ModTime.Add(p.TimeShift).UTC().AppendFormat(append(b, "modify="...), "20060102150405;")
		case "perm":
			if e.Kind == Dir {
				b = append(b, "perm=fle;"...)
			} else {
				b = append(b, "perm=r;"...)
			}
		case "unix.mode":
			b = fmt.Appendf(b, "UNIX.mode=%04o;", e.perm())
		case "unique":
			b = fmt.Appendf(b, "unique=%xU%x;", 0x801, mix(uint64(len(e.Name))+uint64(e.Size()))&0xffffff)
		}
	}
	return append(append(b, ' '), name...)
}

// listed is what LIST or MLSD has to send, or the failure it meets.
type listed struct {
	data    []byte
	refuse  string // a reply instead of a listing
	final   string // a reply after the listing other than the usual
	nothing bool   // 226 without a data connection
	count   int    // of entries
}

// list makes the listing that LIST, NLST or MLSD of arg sends.
func (s *session) list(o *Options, verb, arg string) listed {
	p := &o.Profile
	if p.ListFlags && verb != "MLSD" {
		for strings.HasPrefix(arg, "-") {
			_, arg, _ = strings.Cut(arg, " ")
		}
	}
	dir := s.resolve(arg)
	n := s.find(dir, true)
	missing, unreadable := p.Missing, p.Unreadable
	if verb == "MLSD" {
		missing, unreadable = p.FactsFail, p.FactsFail
	}
	if n == nil && p.ListGlobs && verb != "MLSD" && strings.ContainsAny(arg, "*?[") {
		return listed{data: s.glob(o, verb, dir)}
	}
	if n == nil {
		return p.listFailure(missing, o, dir, nil)
	}
	e := s.srv.tree.entry(n)
	if e.Kind != Dir {
		if verb == "MLSD" {
			return listed{refuse: "550 '" + arg + "' is not a directory"}
		}
		_, e.Name = split(dir)
		b := s.line(o, nil, verb, &e, dir)
		if p.EchoLinks && verb == "LIST" {
			b = s.echoLinks(o, b, dir, e.Name)
		}
		return listed{data: b, count: 1}
	}
	if e.Refuse != "" {
		l := p.listFailure(unreadable, o, dir, &e)
		if unreadable == Refused {
			l.refuse = e.Refuse
		}
		return l
	}
	entries := s.srv.tree.entries(n)
	if len(entries) == 0 && p.Empty != Refused {
		return p.listFailure(p.Empty, o, dir, &e)
	}
	b := make([]byte, 0, 96*len(entries)+256)
	switch {
	case verb == "MLSD" && p.CdirPdir:
		b = append(p.factsLine(b, &e, "cdir", "."), "\r\n"...)
		b = append(p.factsLine(b, &e, "pdir", ".."), "\r\n"...)
	case verb == "LIST" && p.Style == Unix:
		if p.TotalLine {
			b = append(b, "total 0\r\n"...)
		}
		if p.DotEntries {
			dot := e
			dot.Line = ""
			for _, dot.Name = range []string{".", ".."} {
				b = p.listLine(b, &dot, o.Now())
			}
		}
	}
	for i := range entries {
		if !entries[i].Hidden {
			b = s.line(o, b, verb, &entries[i], path.Join(dir, entries[i].Name))
		}
	}
	return listed{data: b, count: len(entries)}
}

// echoLinks appends the links to a file that vsftpd lists with it.
func (s *session) echoLinks(o *Options, b []byte, file, name string) []byte {
	dir, _ := split(file)
	n := s.find(dir, true)
	if n == nil {
		return b
	}
	for _, e := range s.srv.tree.entries(n) {
		if e.Kind == Symlink && e.Target == name {
			b = o.listLine(b, &e, o.Now())
		}
	}
	return b
}

// line appends one entry in the form verb asks for.
func (s *session) line(o *Options, b []byte, verb string, e *Entry, at string) []byte {
	switch verb {
	case "NLST":
		return append(append(b, e.Name...), "\r\n"...)
	case "MLSD":
		if e.Kind == Symlink && !o.Slink && s.find(at, true) == nil {
			return b
		}
		return append(o.factsLine(b, e, "", e.Name), "\r\n"...)
	}
	return o.listLine(b, e, o.Now())
}

func (s *session) glob(o *Options, verb, pattern string) []byte {
	dir, pattern := split(pattern)
	n := s.find(dir, true)
	if n == nil {
		return nil
	}
	var b []byte
	for _, e := range s.srv.tree.entries(n) {
		if ok, err := path.Match(pattern, e.Name); ok && err == nil && !e.Hidden {
			b = s.line(o, b, verb, &e, path.Join(dir, e.Name))
		}
	}
	return b
}

// listFailure says how a directory is answered that is missing (e is nil),
// unreadable or empty.
func (p *Profile) listFailure(how ListFailure, o *Options, dir string, e *Entry) listed {
	switch how {
	case Refused450:
		return listed{refuse: "450 /" + dir + ": No such file or directory"}
	case Failed450:
		return listed{final: "450 /" + dir + ": No such file or directory"}
	case ShownEmpty:
		return listed{}
	case ShownSelf:
		if e == nil {
			return listed{}
		}
		self := *e
		_, self.Name = split(dir)
		return listed{data: p.listLine(nil, &self, o.Now())}
	case Refused226:
		return listed{final: "226 Transfer done (but failed to open directory)."}
	case ShownNothing:
		return listed{nothing: true}
	}
	return listed{refuse: "550 The system cannot find the file specified."}
}
