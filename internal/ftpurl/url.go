// Package ftpurl reads the URLs of mirrors: ftp://, ftps:// (implicit TLS) and
// ftpes:// (explicit TLS), with the path meaning what it means to curl:
//
//	ftp://host/a/b      a/b below the folder the login leads to
//	ftp://host//a/b     /a/b on the server
//	ftp://host/%2Fa/b   the same
//
// It also takes credentials out of URLs, so that they are shown nowhere.
package ftpurl

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// Scheme says how the connection is protected.
type Scheme string

// The schemes of a mirror.
const (
	FTP   Scheme = "ftp"   // no TLS
	FTPS  Scheme = "ftps"  // TLS from the first byte
	FTPES Scheme = "ftpes" // TLS after AUTH TLS
)

// URL is where a mirror is.
type URL struct {
	Scheme      Scheme
	Host        string // lower case, IDNA in its ASCII form, IPv6 without brackets
	Port        int    // never 0: the scheme's own when the URL has none
	User        string // "" when the URL has none
	Password    string
	HasPassword bool
	// Path is the folder in the server's bytes, without a slash at either end;
	// "" is the login folder, or the server's root when Absolute.
	Path     string
	Absolute bool
}

// Parse reads a mirror's URL. Its errors never hold a password.
func Parse(s string) (URL, error) {
	u, err := parse(s)
	if err != nil {
		return URL{}, fmt.Errorf("bad URL %q: %w", Redact(s), err)
	}
	return u, nil
}

func parse(s string) (URL, error) {
	scheme, _, ok := strings.Cut(s, "://")
	if !ok {
		if s == "" {
			return URL{}, errors.New("it is empty")
		}
		return URL{}, fmt.Errorf("it must begin with ftp://, ftps:// or ftpes://")
	}
	u := URL{Scheme: Scheme(strings.ToLower(scheme))}
	switch u.Scheme {
	case FTP, FTPES:
		u.Port = 21
	case FTPS:
		u.Port = 990
	default:
		return URL{}, errors.New("it must begin with ftp://, ftps:// (implicit TLS) or ftpes:// (explicit TLS)")
	}
	start, end, err := authority(s)
	if err != nil {
		return URL{}, err
	}
	if err := u.setAuthority(s[start:end]); err != nil {
		return URL{}, err
	}
	if err := u.setPath(s[end:]); err != nil {
		return URL{}, err
	}
	return u, nil
}

func (u *URL) setAuthority(s string) error {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		user, password, has := strings.Cut(s[:i], ":")
		u.User, u.Password, u.HasPassword = unescape(user), unescape(password), has
		if bad(u.User) {
			return errors.New("the user's name has a line break or NUL in it")
		}
		if bad(u.Password) {
			return errors.New("the password has a line break or NUL in it")
		}
		if u.User == "" && has {
			return errors.New("it has a password but no user")
		}
		s = s[i+1:]
	}
	host, port := s, ""
	switch {
	case strings.HasPrefix(s, "["):
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return errors.New("the IPv6 address has no closing bracket")
		}
		host, port = unescape(s[1:end]), s[end+1:]
		if port != "" && port[0] != ':' {
			return errors.New("only a port may follow the IPv6 address")
		}
		port = strings.TrimPrefix(port, ":")
		a, err := netip.ParseAddr(host)
		if err != nil || !a.Is6() {
			return errors.New("what stands in brackets is not an IPv6 address")
		}
		if _, err := hostname(a.Zone()); err != nil { // a network interface's name
			return errors.New("what follows the IPv6 address's % is not the name of an interface")
		}
		u.Host = a.String()
	default:
		if i := strings.IndexByte(s, ':'); i >= 0 {
			host, port = s[:i], s[i+1:]
		}
		if strings.Contains(port, ":") {
			return errors.New("an IPv6 address must stand in brackets, like ftp://[2001:db8::1]/")
		}
		if host == "" {
			return errors.New("it names no host")
		}
		var err error
		if u.Host, err = hostname(unescape(host)); err != nil {
			return err
		}
	}
	if port == "" {
		return nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return errors.New("the port must be a number from 1 to 65535")
	}
	u.Port = int(n)
	return nil
}

func hostname(s string) (string, error) {
	for _, r := range s {
		if r <= ' ' || r == 0x7f || strings.ContainsRune(`/\?#@[]<>"'%:`, r) {
			return "", fmt.Errorf("the host's name can't have %q in it", r)
		}
	}
	for i := range len(s) {
		if s[i] >= 0x80 {
			a, err := idna.Lookup.ToASCII(s)
			if err != nil {
				return "", errors.New("the host's name is not a domain name")
			}
			return a, nil
		}
	}
	return strings.ToLower(s), nil
}

func (u *URL) setPath(s string) error {
	if strings.Contains(s, "#") {
		return errors.New("write %23 for a # in the path")
	}
	const suffix = ";type=i"
	if i := len(s) - len(suffix); i >= 0 && strings.EqualFold(s[i:len(s)-1], suffix[:len(suffix)-1]) {
		switch s[len(s)-1] {
		case 'i', 'I', 'd', 'D':
			s = s[:i]
		case 'a', 'A':
			return errors.New("mirrorfs always transfers unchanged bytes; leave \";type=a\" out")
		}
	}
	if s != "" && s[0] == '?' { // ftp://host?x: curl makes it the path /?x
		s = "/" + s
	}
	s = strings.TrimPrefix(unescape(s), "/")
	if bad(s) {
		return errors.New("the path has a line break or NUL in it")
	}
	u.Absolute = strings.HasPrefix(s, "/")
	u.Path = strings.TrimPrefix(path.Clean("/"+s), "/")
	return nil
}

// bad reports what can't be part of an FTP command.
func bad(s string) bool { return strings.ContainsAny(s, "\r\n\x00") }

// unescape decodes %xx and leaves everything else, a lone % too, as it is.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(n))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

// escape encodes what can't stand for itself in a path.
func escape(s string) string {
	const plain = "-._~!$&'()*+,=:@/"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.IndexByte(plain, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// Addr is the server's host:port.
func (u URL) Addr() string { return net.JoinHostPort(u.Host, strconv.Itoa(u.Port)) }

// String returns the URL without credentials, fit to be shown.
func (u URL) String() string {
	host := u.Host
	if strings.Contains(host, ":") {
		host = "[" + strings.ReplaceAll(host, "%", "%25") + "]"
	}
	if u.Scheme == FTPS && u.Port != 990 || u.Scheme != FTPS && u.Port != 21 {
		host += ":" + strconv.Itoa(u.Port)
	}
	p := "/" + escape(u.Path)
	if u.Absolute {
		p = "/%2F" + escape(u.Path)
	}
	return string(u.Scheme) + "://" + host + p
}

// Redact takes the credentials out of what may be a URL, well-formed or not,
// so that it can be shown. Of one that can't be understood it keeps less rather
// than a part of a password.
func Redact(s string) string {
	start, at := credentials(s)
	if at >= 0 {
		return s[:start] + s[at+1:]
	}
	if _, err := parse(s); err == nil {
		return s
	}
	// In ftp://user:pass/ the host was forgotten.
	user, rest, _ := strings.Cut(s[start:], ":")
	port := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		port = rest[:i]
	}
	if strings.Trim(port, "0123456789") != "" && !strings.HasPrefix(user, "[") {
		return s[:start] + user + ":..."
	}
	return s
}

// WithoutPassword takes the password out of what may be a URL and leaves the
// user in it, if it is clear where that ends. ok is false when there was none.
func WithoutPassword(s string) (clean, password string, ok bool) {
	start, at := credentials(s)
	if at < 0 {
		return s, "", false
	}
	user, password, ok := strings.Cut(s[start:at], ":")
	if !ok {
		return s, "", false
	}
	if strings.ContainsAny(user, "/?#") {
		return s[:start] + s[at+1:], unescape(password), true
	}
	return s[:start] + user + s[at:], unescape(password), true
}

// credentials returns where user and password may stand in s: from start to the
// '@' at the index at, which is -1 when there is none. What is no proper URL may
// have them anywhere before its last '@'.
func credentials(s string) (start, at int) {
	start, end, err := authority(s)
	at = strings.LastIndexByte(s, '@')
	_, bad := parse(s)
	switch {
	case bad == nil:
	case err == nil && start > 0 && start == lead(s) && at < end: // of another scheme, as of a proxy
	default:
		return lead(s), at
	}
	if at = strings.LastIndexByte(s[start:end], '@'); at >= 0 {
		at += start
	}
	return start, at
}

// lead returns the length of what stands in s for "ftp://", mistyped maybe.
func lead(s string) int {
	if scheme, _, ok := strings.Cut(s, "://"); ok && !strings.ContainsAny(scheme, ":/@") {
		return len(scheme) + len("://")
	}
	i := strings.IndexAny(s, ":/")
	if i < 0 {
		return 0
	}
	switch Scheme(strings.ToLower(s[:i])) {
	case FTP, FTPS, FTPES:
		return len(s) - len(strings.TrimLeft(s[i:], ":/"))
	}
	return 0
}

// authority returns where user, password and host stand in s. With an error it
// covers all that can be part of a password which was not escaped.
func authority(s string) (start, end int, err error) {
	if i := strings.Index(s, "://"); i >= 0 {
		start = i + len("://")
	}
	end = len(s)
	if i := strings.IndexAny(s[start:], "/?#"); i >= 0 {
		end = start + i
	}
	// In ftp://user:pass/word@host/ what follows the colon is no port.
	_, port, colon := strings.Cut(s[start:end], ":")
	at := strings.LastIndexByte(s, '@')
	if colon && at >= end && !strings.Contains(port, "@") && !strings.HasPrefix(s[start:], "[") && strings.Trim(port, "0123456789") != "" {
		end = at + 1
		if i := strings.IndexAny(s[end:], "/?#"); i >= 0 {
			return start, end + i, errors.New("in a password, write %2F for /, %3F for ? and %23 for #")
		}
		return start, len(s), errors.New("in a password, write %2F for /, %3F for ? and %23 for #")
	}
	return start, end, nil
}
