package ftppool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"time"

	"github.com/jlaffaye/ftp"
)

// errClearData says that encryption would end at the control connection.
var errClearData = errors.New("the server does not encrypt data connections (PROT P refused)")

// errSequential says that the server lost commands that were sent together,
// and must be dialled again.
var errSequential = errors.New("the server takes one command at a time")

// open dials and logs in. The session speaks for itself, since the library
// would ask everything anew and one by one each time; the library is then told
// the answers. Round trips after the TCP connection: the banner, then 4 for the
// first session (USER, PASS, questions, settings), 1 for later ones, which
// brings the answers to waiting questions too.
func (s *session) open(ctx context.Context) error {
	p := s.pool
	options := []ftp.DialOption{
		ftp.DialWithDialFunc(func(_, addr string) (net.Conn, error) { return s.dial(ctx, addr) }),
		ftp.DialWithDisabledMLSD(true), // we ask for it in place of LIST
		ftp.DialWithDisabledUTF8(true), // we have done it
	}
	if s.tls != nil {
		options = append(options, ftp.DialWithTLS(s.tls))
	}
	lib, err := ftp.Dial(p.cfg.addr(), options...)
	if err != nil {
		return err
	}
	s.lib = lib
	if err := s.login(); err != nil {
		return err
	}
	// Now let the library believe that it has logged in.
	s.ctl.known = s.alreadyDone
	err = lib.Login(p.cfg.User, "")
	s.ctl.known = s.answer
	s.lastUsed = time.Now()
	return err
}

func (s *session) alreadyDone(command string) (reply, bool) {
	verb, _, _ := strings.Cut(command, " ")
	switch verb {
	case "USER":
		return reply{230, "logged in"}, true
	case "FEAT":
		if s.pool.known().pret {
			return reply{211, "Features:\n PRET"}, true
		}
		return reply{502, "known"}, true
	}
	return reply{200, "done"}, true
}

func (s *session) login() error {
	k := s.pool.known()
	if k.together() && k.user > 0 {
		return s.loginAtOnce(k)
	}
	if err := s.userAndPass(); err != nil {
		return err
	}
	if !k.loggedIn {
		return s.firstLogin()
	}
	replies, err := s.exchange(s.settings(k)...)
	if err != nil {
		return err
	}
	return s.checkSettings(replies)
}

// loginAtOnce is the login to a server that is known to ask for nothing else.
func (s *session) loginAtOnce(k *knowledge) error {
	commands := []string{"USER " + s.pool.cfg.User}
	want := []int{k.user}
	if k.user == 331 {
		commands = append(commands, "PASS "+s.pool.cfg.Password)
		want = append(want, 230)
	}
	commands = append(commands, s.settings(k)...)
	own := question{commands: commands}
	riders := s.carry(own.bytes())
	replies, err := s.ctl.exchange(true, append(commands, asked(riders)...)...)
	n := min(len(commands), len(replies))
	failed := err
	if n == len(commands) {
		failed = nil // what went wrong came later
	}
	if e := s.checkLogin(want, replies[:n], failed); e != nil {
		deliver(riders, nil, e) // what was answered to a stranger means nothing
		return e
	}
	deliver(riders, replies[n:], err)
	if _, isReply := asReply(err); err != nil && !isReply && len(riders) > 0 {
		return fmt.Errorf("%w: %w", errRode, err)
	}
	return err
}

// checkLogin reads the replies to a login at once, of which the first are to
// have the codes in want. With err, there may be too few.
func (s *session) checkLogin(want []int, replies []reply, err error) error {
	for i, r := range replies {
		if i < len(want) && r.code >= 400 {
			return r.asError()
		}
	}
	if err != nil {
		return err
	}
	for i, code := range want {
		if replies[i].code != code {
			s.pool.learn(func(k *knowledge) { k.user = -1 })
			return errSequential
		}
	}
	return s.checkSettings(replies[len(want):])
}

func (s *session) userAndPass() error {
	cfg := &s.pool.cfg
	replies, err := s.ctl.exchange(false, "USER "+cfg.User)
	if err != nil {
		return err
	}
	r := replies[0]
	if s.pool.known().user == 0 && (r.code == 331 || r.code == 230) {
		s.pool.learn(func(k *knowledge) { k.user = r.code })
	}
	if r.code == 331 {
		if replies, err = s.ctl.exchange(false, "PASS "+cfg.Password); err != nil {
			return err
		}
		r = replies[0]
	}
	if r.code != 230 && r.code != 202 && r.code != 232 {
		return r.asError()
	}
	return nil
}

// settings are the commands that every session begins with.
func (s *session) settings(k *knowledge) []string {
	commands := []string{"TYPE I"}
	if s.tls != nil {
		commands = append(commands, "PBSZ 0", "PROT P")
	}
	if _, ok := k.features["UTF8"]; ok {
		commands = append(commands, "OPTS UTF8 ON")
	}
	if k.mlst && !k.noMLST {
		// Less to send than all the facts, and some servers leave out the size.
		commands = append(commands, "OPTS MLST type;size;modify;")
	}
	return commands
}

func (s *session) checkSettings(replies []reply) error {
	if !replies[0].ok() {
		return replies[0].asError()
	}
	replies = replies[1:]
	if s.tls != nil {
		for _, r := range replies[:2] {
			if !r.ok() {
				return &replyError{errClearData, r}
			}
		}
	}
	return nil
}

// firstLogin finds out what the server can do. It sends the questions together;
// a server that loses some of them is asked one by one in another login.
func (s *session) firstLogin() error {
	p := s.pool
	together := !p.known().sequential
	if together {
		silence := p.cfg.silence()
		s.ctl.wire.setSilence(min(silence, 5*time.Second))
		defer s.ctl.wire.setSilence(silence)
	}
	r, err := s.ctl.exchange(together, "FEAT", "SYST", "PWD")
	if err != nil {
		var silent *silentError
		if together && len(r) > 0 && errors.As(err, &silent) {
			p.learn(func(k *knowledge) { k.sequential = true })
			return errSequential
		}
		return err
	}
	k := *p.known()
	k.features = map[string]string{}
	if r[0].code == 211 {
		k.features = parseFeatures(r[0].text)
	}
	if r[1].ok() {
		k.System = p.text(r[1])[4:]
		k.Profile.IgnoreCase = strings.Contains(strings.ToLower(k.System), "windows")
	}
	if k.Login, err = loginFolder(r[2]); err != nil {
		return err
	}
	_, k.mlst = k.features["MLST"]
	_, k.pret = k.features["PRET"]
	k.pret = k.pret && strings.Contains(strings.ToLower(s.ctl.banner.text), "drftpd")
	k.base = k.Login
	switch root := strings.Trim(p.cfg.Root, "/"); {
	case p.cfg.RootAbsolute:
		k.base = "/" + root
	case root != "":
		k.base = strings.TrimSuffix(k.Login, "/") + "/" + root
	}
	if p.needsTelnet(k.base) {
		if err := s.probeTelnet(); err != nil {
			return err
		}
	}
	commands := append(s.settings(&k), "CWD "+k.base)
	if r, err = s.ctl.exchange(together, commands...); err != nil {
		return err
	}
	if err := s.checkSettings(r); err != nil {
		return err
	}
	utf8 := false
	for i, c := range commands {
		utf8 = utf8 || (c == "OPTS UTF8 ON" && r[i].ok())
	}
	banner, tlsName := p.text(s.ctl.banner)[4:], s.ctl.tlsName()
	p.learn(func(now *knowledge) {
		now.Banner, now.System, now.Login, now.Profile.IgnoreCase = banner, k.System, k.Login, k.Profile.IgnoreCase
		now.features, now.Features = k.features, featureLines(k.features)
		now.mlst, now.pret, now.base = k.mlst, k.pret, k.base
		now.UTF8, now.TLS = utf8, tlsName
	})
	if at := r[len(r)-1]; !at.ok() {
		return s.rootRefused(at)
	}
	p.learn(func(k *knowledge) { k.loggedIn, k.Learned = true, true })
	return nil
}

// rootRefused says why the folder to mount can't be entered. Servers say the
// same of missing folders and of forbidden ones; the former are more common.
func (s *session) rootRefused(r reply) error {
	kind := refusal(r)
	if kind == ErrRefused {
		kind = fs.ErrNotExist
	}
	return s.pool.fail(opFolder, s.pool.cfg.Root, &replyError{kind, r})
}

// loginFolder reads the reply to PWD: a path in quotes, with quotes in it
// doubled (RFC 959 appendix II).
func loginFolder(r reply) (string, error) {
	if !r.ok() {
		return "/", nil // a server without PWD surely has no login folders
	}
	_, rest, ok := strings.Cut(r.text, `"`)
	if !ok {
		rest, _, _ = strings.Cut(r.text, " ")
		rest += `"`
	}
	var path strings.Builder
	for {
		part, after, ok := strings.Cut(rest, `"`)
		if !ok {
			return "", fmt.Errorf("%w: no folder in the reply to PWD", ErrProtocol)
		}
		path.WriteString(part)
		if !strings.HasPrefix(after, `"`) {
			break
		}
		path.WriteByte('"')
		rest = after[1:]
	}
	if path.Len() == 0 {
		return "/", nil
	}
	if strings.ContainsAny(path.String(), "\r\n\x00") {
		return "", fmt.Errorf("%w: a line end in the reply to PWD", ErrProtocol)
	}
	return path.String(), nil
}
