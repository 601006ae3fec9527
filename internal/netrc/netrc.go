// Package netrc reads ~/.netrc, the file in which users keep the logins of FTP
// servers: entries of the words machine, login, password and account, a default
// entry, and macdef, which is skipped. Words may stand in double quotes.
package netrc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Login is what a netrc file says about a server.
type Login struct{ User, Password string }

// File is a netrc file that was read.
type File struct {
	Path string
	// Exposed says that others than its owner may read the file.
	Exposed bool
	entries []entry
}

type entry struct {
	machine string // "" is the default entry
	login   Login
}

// maxSize is more than any netrc file needs.
const maxSize = 1 << 20

// Read reads the file at path. A file that is missing is an empty one.
func Read(path string) (*File, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &File{Path: path}, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSize {
		return nil, fmt.Errorf("%s is not a netrc file", path)
	}
	b := make([]byte, info.Size())
	n, err := f.ReadAt(b, 0)
	if n < len(b) && err != nil {
		return nil, err
	}
	file, err := parse(string(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	file.Path, file.Exposed = path, info.Mode().Perm()&0o077 != 0
	return file, nil
}

// Find returns the login for host: the first entry of that machine, else the
// default one. With a user, only an entry of that user, or of none, counts.
func (f *File) Find(host, user string) (Login, bool) {
	for _, e := range f.entries {
		if e.machine != "" && !strings.EqualFold(e.machine, host) {
			continue
		}
		if user != "" && e.login.User != "" && e.login.User != user {
			continue
		}
		l := e.login
		if l.User == "" {
			l.User = user
		}
		return l, true
	}
	return Login{}, false
}

func parse(s string) (*File, error) {
	f := new(File)
	var defaults []entry
	var at *entry // the entry that words belong to
	flush := func() {
		switch {
		case at == nil:
		case at.machine == "":
			defaults = append(defaults, *at)
		default:
			f.entries = append(f.entries, *at)
		}
	}
	p := parser{rest: s}
	for {
		word, ok, err := p.next()
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		switch word {
		case "default":
			flush()
			at = new(entry)
		case "macdef":
			p.skipMacro()
		case "machine", "login", "user", "password", "passwd", "account":
			value, ok, err := p.next()
			if err != nil {
				return nil, err
			}
			if !ok {
				return nil, fmt.Errorf("line %d: %q has no value", p.line(s), word)
			}
			if word == "machine" {
				flush()
				at = &entry{machine: value}
				break
			}
			if at == nil {
				return nil, fmt.Errorf("line %d: %q stands before the first machine", p.line(s), word)
			}
			switch word {
			case "login", "user":
				at.login.User = value
			case "password", "passwd":
				at.login.Password = value
			}
		default:
			if strings.HasPrefix(word, "#") {
				p.skipLine()
				break
			}
			// The word itself may be a part of a password.
			return nil, fmt.Errorf("line %d: a word that is none of machine, default, login, password, account and macdef", p.line(s))
		}
	}
	flush()
	f.entries = append(f.entries, defaults...)
	return f, nil
}

type parser struct{ rest string }

// line is the number of the line the parser stands in.
func (p *parser) line(all string) int {
	return 1 + strings.Count(strings.TrimRight(all[:len(all)-len(p.rest)], "\n"), "\n")
}

func (p *parser) skipLine() {
	_, p.rest, _ = strings.Cut(p.rest, "\n")
}

// skipMacro leaves out a macro definition, which ends at an empty line.
func (p *parser) skipMacro() {
	p.skipLine()
	for p.rest != "" {
		line, rest, _ := strings.Cut(p.rest, "\n")
		p.rest = rest
		if strings.Trim(line, " \t\r") == "" {
			return
		}
	}
}

const blank = " \t\r\n"

// next returns the next word, false at the end.
func (p *parser) next() (string, bool, error) {
	p.rest = strings.TrimLeft(p.rest, blank)
	if p.rest == "" {
		return "", false, nil
	}
	if p.rest[0] != '"' {
		end := strings.IndexAny(p.rest, blank)
		if end < 0 {
			end = len(p.rest)
		}
		word := p.rest[:end]
		p.rest = p.rest[end:]
		return word, true, nil
	}
	var word []byte
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; c {
		case '"':
			p.rest = p.rest[i+1:]
			return string(word), true, nil
		case '\n':
			return "", false, errors.New("a quoted word has no closing quote")
		case '\\':
			if i+1 == len(p.rest) {
				break
			}
			i++
			switch c := p.rest[i]; c {
			case 'n':
				word = append(word, '\n')
			case 'r':
				word = append(word, '\r')
			case 't':
				word = append(word, '\t')
			default:
				word = append(word, c)
			}
		default:
			word = append(word, c)
		}
	}
	return "", false, errors.New("a quoted word has no closing quote")
}
