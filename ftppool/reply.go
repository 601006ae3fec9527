package ftppool

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// reply is what a server answered: the code and the text of its lines, without
// codes, joined by "\n".
type reply struct {
	code int
	text string
}

func (r reply) ok() bool { return r.code >= 200 && r.code < 300 }

// positive are the replies that say yes to a command. A server that says yes in
// another way is answering something else: it is out of step.
var positive = map[string][]int{
	"USER": {230, 232, 331, 332}, "PASS": {202, 230, 232, 332}, "FEAT": {211}, "SYST": {215}, "PWD": {257},
	"TYPE": {200}, "PBSZ": {200}, "PROT": {200}, "AUTH": {234, 334}, "NOOP": {200}, "CWD": {200, 250},
	"SIZE": {213}, "MDTM": {213}, "MLST": {250}, "REST": {350}, "EPSV": {229}, "PASV": {227},
	"RETR": {226, 250}, "LIST": {226, 250}, "MLSD": {226, 250},
}

// fits reports whether r can be the answer to a command: a yes in the right
// form, or any no.
func (r reply) fits(command string) bool {
	verb, _, _ := strings.Cut(command, " ")
	codes, ok := positive[verb]
	return !ok || r.code >= 400 || r.code == 202 || slices.Contains(codes, r.code)
}

// missing reports whether the server does not have the command at all.
func (r reply) missing() bool {
	return r.code == 500 || r.code == 502 || r.code == 504 || r.code == 202
}

// line is the reply as the library reads it: in one line, and not too long.
// Only of the features it must see the lines.
func (r reply) line() string {
	if r.code == 211 {
		return "211-" + strings.ReplaceAll(r.text, "\n", "\r\n") + "\r\n211 End\r\n"
	}
	text := strings.ReplaceAll(r.text, "\n", " ")
	return fmt.Sprintf("%03d %s\r\n", r.code, text[:min(len(text), 2048)])
}

// asError is the reply as the library gives it.
func (r reply) asError() error { return &textproto.Error{Code: r.code, Msg: r.text} }

// readReply reads one reply of RFC 959 section 4.2, of at most maxReply bytes.
// Servers end lines with a bare LF, leave out the text, or send empty lines in
// between; anything else that is not a reply is an error. telnet says that there
// were words of Telnet before it.
func readReply(in *bufio.Reader) (r reply, telnet bool, err error) {
	left := maxReply
	line, err := readLine(in, &left)
	line, telnet = stripTelnet(line)
	for strays := 0; err == nil && strings.TrimSpace(line) == "" && strays < maxStrays; strays++ {
		line, err = readLine(in, &left)
	}
	if err != nil {
		return reply{}, telnet, err
	}
	code, more, ok := parseCode(line)
	if !ok {
		return reply{}, telnet, fmt.Errorf("%w: %q is not an FTP reply", ErrProtocol, line[:min(len(line), 80)])
	}
	var text strings.Builder
	text.WriteString(afterCode(line))
	for more {
		if line, err = readLine(in, &left); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return reply{}, telnet, err
		}
		text.WriteByte('\n')
		if c, m, ok := parseCode(line); ok && c == code {
			// Some begin every line with the code; the last one has a space.
			more = m
			line = afterCode(line)
		}
		text.WriteString(line)
	}
	return reply{code, text.String()}, telnet, nil
}

func readLine(in *bufio.Reader, left *int) (string, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if *left -= len(part); *left < 0 {
			return "", fmt.Errorf("%w: a reply of more than %d bytes", ErrProtocol, maxReply)
		}
		line = append(line, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			if err == io.EOF && len(line) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
		return strings.TrimRight(string(line), "\r\n"), nil
	}
}

// parseCode reads "226 ..." and "226-..."; more means that lines follow.
func parseCode(line string) (code int, more, ok bool) {
	if len(line) < 3 || (len(line) > 3 && line[3] != ' ' && line[3] != '-') {
		return 0, false, false
	}
	for _, c := range []byte(line[:3]) {
		if c < '0' || c > '9' {
			return 0, false, false
		}
	}
	code, _ = strconv.Atoi(line[:3])
	return code, len(line) > 3 && line[3] == '-', code >= 100 && code < 600
}

func afterCode(line string) string { return line[min(len(line), 4):] }

var passive = regexp.MustCompile(`(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})`)

// normal gives a reply to one of the library's commands the form it expects.
func normal(command string, r reply) reply {
	verb, _, _ := strings.Cut(command, " ")
	switch verb {
	case "PASV":
		if r.code == 227 {
			m := passive.FindStringSubmatch(r.text)
			if m == nil {
				return reply{500, "no address in " + r.text}
			}
			for _, n := range m[1:] {
				if v, _ := strconv.Atoi(n); v > 255 {
					return reply{500, "no address in " + r.text}
				}
			}
			r.text = "Entering Passive Mode (" + strings.Join(m[1:], ",") + ")"
		}
	case "EPSV":
		if r.code == 229 {
			port, ok := extendedPort(r.text)
			if !ok {
				return reply{500, "no port in " + r.text}
			}
			r.text = fmt.Sprintf("Entering Extended Passive Mode (|||%d|)", port)
		}
	case "RETR", "LIST", "MLSD":
		switch {
		case r.code < 200:
			r.code = 150
		case r.code == 250:
			r.code = 226
		}
	}
	return r
}

// extendedPort reads "(|||6446|)" of RFC 2428, with any delimiter.
func extendedPort(text string) (int, bool) {
	_, rest, ok := strings.Cut(text, "(")
	if !ok || len(rest) < 5 || rest[1] != rest[0] || rest[2] != rest[0] {
		return 0, false
	}
	digits, _, ok := strings.Cut(rest[3:], rest[:1])
	port, err := strconv.Atoi(digits)
	return port, ok && err == nil && port > 0 && port < 65536
}
