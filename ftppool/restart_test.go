package ftppool

import (
	"bytes"
	"io"
	"io/fs"
	"slices"
	"testing"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

func TestRestart(t *testing.T) {
	files := map[string]string{"f": "0123456789"}
	t.Run("refused", func(t *testing.T) {
		s := ftptest.New(t, ftptest.Options{Files: files})
		s.On("REST", "*", ftptest.Reply(502, "REST not implemented."))
		p := newPool(t, s)
		_, err := p.Open(patience(t), read, "f", 4)
		isError(t, err, ErrNoRestart)
		if b := readAll(t, p, "f", 0); string(b) != "0123456789" {
			t.Errorf("read %q", b)
		}
		n := s.Count("REST")
		_, err = p.Open(patience(t), read, "f", 4)
		isError(t, err, ErrNoRestart)
		if p.CanRestart("f") || s.Count("REST") != n || p.Profile().Restart != RestartRefused {
			t.Error("the refusal was not remembered")
		}
		if p.Status().Logins != 1 {
			t.Error("the session was not kept")
		}
	})
	t.Run("accepted and not obeyed", func(t *testing.T) {
		s := ftptest.New(t, ftptest.Options{Files: files})
		s.On("REST", "*", ftptest.Reply(350, "Restarting."))
		p := newPool(t, s)
		_, err := p.Open(patience(t), read, "f", 4)
		isError(t, err, ErrNoRestart)
		if p.CanRestart("f") {
			t.Error("it counts as proven")
		}
	})
	t.Run("proven on demand", func(t *testing.T) {
		s := ftptest.New(t, ftptest.Options{Files: files})
		p := newPool(t, s)
		readAll(t, p, "f", 0)
		if s.Count("REST") != 0 {
			t.Error("REST was tried without need")
		}
		await(t, p, func(Status) bool { return p.CanRestart("f") })
	})
}

// checked reads a file from offset on, as content does.
func checked(t *testing.T, p *Pool, name string, offset int64) ([]byte, error) {
	t.Helper()
	r, err := p.Open(patience(t), Want{Class: ClassRead, Check: true}, name, offset)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// The end of a file proves REST by itself, with no command beside those of any
// transfer; what is far from it is proven before.
func TestTailProvesRestart(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789abcdef"), proofLimit/8)
	s := ftptest.New(t, ftptest.Options{Files: map[string]string{"f": string(large)}})
	for _, test := range []struct {
		offset int
		want   []string
	}{
		{len(large) - 7, []string{"SIZE", "MDTM", "EPSV", "REST", "RETR"}},
		{len(large) - proofLimit, []string{"SIZE", "MDTM", "EPSV", "REST", "RETR"}},
		{len(large) - proofLimit - 1, []string{"SIZE", "MDTM", "EPSV", "REST", "REST", "RETR", "EPSV", "REST", "RETR"}},
		{9, []string{"SIZE", "MDTM", "EPSV", "REST", "REST", "RETR", "EPSV", "REST", "RETR"}},
	} {
		p := newPool(t, s)
		mustList(t, p, "")
		from := len(s.Commands())
		b, err := checked(t, p, "f", int64(test.offset))
		if err != nil || !bytes.Equal(b, large[test.offset:]) {
			t.Errorf("from %d: %d bytes, %v", test.offset, len(b), err)
		}
		if got := sentSince(s, from); !slices.Equal(got, test.want) {
			t.Errorf("from %d: sent %v, want %v", test.offset, got, test.want)
		}
		if p.Profile().Restart != RestartProven {
			t.Errorf("from %d: REST is %v", test.offset, p.Profile().Restart)
		}
		if p.Status().Logins != 1 {
			t.Errorf("from %d: the session was not kept", test.offset)
		}
	}
}

// Where the size is known, a proof is three round trips and the reply to it.
func TestProofOfAKnownSize(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{Files: map[string]string{"f": "0123456789", "tiny": "x"}})
	for _, test := range []struct {
		size string // that was told before; "" is the right one
		want []string
	}{
		{"", []string{"SIZE", "EPSV", "REST", "RETR"}},
		{"7", []string{"SIZE", "EPSV", "REST", "REST", "RETR"}},
	} {
		p := newPool(t, s)
		if test.size != "" {
			s.Add(ftptest.Rule{Verb: "SIZE", Path: "f", Times: 1, Action: ftptest.Reply(213, test.size)})
		}
		if _, err := checked(t, p, "f", 0); err != nil {
			t.Fatal(err)
		}
		from := len(s.Commands())
		if err := p.ProveRestart(patience(t), "f"); err != nil || p.Profile().Restart != RestartProven {
			t.Errorf("%v, %v", p.Profile().Restart, err)
		}
		if got := sentSince(s, from); !slices.Equal(got, test.want) {
			t.Errorf("told %q: sent %v, want %v", test.size, got, test.want)
		}
	}
}

// A file that has grown since its size was told says nothing against REST: its
// size is asked again.
func TestProofOfAGrowingFile(t *testing.T) {
	for name, test := range map[string]struct {
		obeyed bool
		sizes  []string // told before the right one
		want   Restart
	}{
		"grown":              {true, []string{"8"}, RestartProven},
		"growing":            {true, []string{"7", "8"}, RestartProven},
		"without end":        {true, []string{"7", "7", "8"}, RestartUnknown},
		"by one byte":        {true, []string{"9"}, RestartProven},
		"REST is not obeyed": {false, []string{"9"}, RestartRefused},
	} {
		t.Run(name, func(t *testing.T) {
			s := ftptest.New(t, ftptest.Options{Files: map[string]string{"f": "0123456789"}})
			if !test.obeyed {
				s.On("REST", "*", ftptest.Reply(350, "Restarting."))
			}
			p := newPool(t, s)
			mustList(t, p, "")
			for _, size := range test.sizes {
				s.Add(ftptest.Rule{Verb: "SIZE", Path: "f", Times: 1, Action: ftptest.Reply(213, size)})
			}
			err := p.ProveRestart(patience(t), "f")
			if got := p.Profile().Restart; got != test.want || (err == nil) != (got == RestartProven) {
				t.Errorf("%v, %v", got, err)
			}
			if p.Status().Logins != 1 {
				t.Error("the session was not kept")
			}
		})
	}
}

// While REST is put to the proof by one session, others begin their transfers,
// and give out nothing before it is over.
func TestStreamsWaitForTheProof(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789abcdef"), proofLimit/8)
	const from = 100_000
	for name, test := range map[string]struct {
		rest  func(*ftptest.Server)
		proof func(gate <-chan struct{}) ftptest.Action
		err   error
		want  Restart
		sent  []string // of the second session
	}{
		"proven": {
			proof: ftptest.Wait,
			want:  RestartProven,
			sent:  []string{"SIZE", "MDTM", "EPSV", "REST", "RETR"},
		},
		"not obeyed": {
			rest:  func(s *ftptest.Server) { s.On("REST", "*", ftptest.Reply(350, "Restarting.")) },
			proof: ftptest.Wait,
			err:   ErrNoRestart,
			want:  RestartRefused,
			sent:  []string{"SIZE", "MDTM", "EPSV", "REST", "RETR", "NOOP"},
		},
		"nothing learned": {
			proof: func(gate <-chan struct{}) ftptest.Action {
				return ftptest.Action{Wait: gate, Reply: "450 Not now."}
			},
			want: RestartProven,
			sent: []string{"SIZE", "MDTM", "EPSV", "REST", "RETR", "NOOP",
				"SIZE", "MDTM", "EPSV", "REST", "REST", "RETR", "EPSV", "REST", "RETR"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := ftptest.New(t, ftptest.Options{Files: map[string]string{"f": string(large)}})
			if test.rest != nil {
				test.rest(s)
			}
			p := newPool(t, s)
			mustList(t, p, "")
			gate := make(chan struct{})
			armed := s.Add(ftptest.Rule{Verb: "RETR", Path: "*", Times: 1, Action: test.proof(gate)})
			await(t, p, func(Status) bool { return p.CanRestart("f") })
			await(t, p, func(Status) bool { return armed.Fired() == 1 })
			if p.Profile().Restart != RestartUnknown {
				t.Fatal("proven without a proof")
			}

			type result struct {
				b   []byte
				err error
			}
			got := make(chan result, 1)
			go func() {
				b, err := checked(t, p, "f", from)
				got <- result{b, err}
			}()
			await(t, p, func(Status) bool { return s.Count("RETR") == 2 })
			select {
			case r := <-got:
				t.Fatalf("%d bytes before the proof, %v", len(r.b), r.err)
			default:
			}
			close(gate)
			r := <-got
			if test.err != nil {
				isError(t, r.err, test.err)
			} else if r.err != nil || !bytes.Equal(r.b, large[from:]) {
				t.Errorf("%d bytes, %v", len(r.b), r.err)
			}
			if got := p.Profile().Restart; got != test.want {
				t.Errorf("REST is %v", got)
			}
			await(t, p, func(st Status) bool { return st.Busy == 0 })
			var sent []string
			for _, c := range s.Commands() {
				if c.Session == 2 {
					sent = append(sent, c.Verb)
				}
			}
			if n := slices.Index(sent, "SIZE"); n < 0 || !slices.Equal(sent[n:], test.sent) {
				t.Errorf("sent %v, want %v", sent, test.sent)
			}
		})
	}
}

// A proof that tells nothing is not tried again at once.
func TestProofInVain(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{Files: map[string]string{"f": "0123456789"}})
	s.On("SIZE", "*", ftptest.Reply(502, "SIZE not implemented."))
	p := newPool(t, s)
	readAll(t, p, "f", 0)
	for range 10 {
		if p.CanRestart("f") {
			t.Error("proven without a size")
		}
		await(t, p, func(Status) bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return !p.proving
		})
	}
	if n := s.Count("SIZE"); n != 1 {
		t.Errorf("tried %d times", n)
	}
}

// A place to begin at that no transfer has used is not left to the next one.
func TestUnusedRestart(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{Files: map[string]string{"f": "0123456789", "tiny": "x"}})
	for what, leave := range map[string]func(p *Pool) error{
		"too small for a proof": func(p *Pool) error { return p.ProveRestart(patience(t), "tiny") },
		"smaller than it was": func(p *Pool) error {
			s.Add(ftptest.Rule{Verb: "SIZE", Path: "tiny", Times: 1, Action: ftptest.Reply(213, "5")})
			if _, err := checked(t, p, "tiny", 0); err != nil {
				return err
			}
			return p.ProveRestart(patience(t), "tiny")
		},
		"refused": func(p *Pool) error {
			s.Add(ftptest.Rule{Verb: "RETR", Path: "f", Times: 1, Action: ftptest.Reply(550, "Not now.")})
			_, err := checked(t, p, "f", 4)
			isError(t, err, fs.ErrPermission)
			return nil
		},
	} {
		p := newPool(t, s, connections(1))
		mustList(t, p, "")
		if err := leave(p); err != nil || p.Profile().Restart != RestartUnknown {
			t.Errorf("%s: %v, %v", what, p.Profile().Restart, err)
		}
		if b := readAll(t, p, "f", 0); string(b) != "0123456789" {
			t.Errorf("%s: then read %q", what, b)
		}
	}
}

// Of a server that begins at the front in spite of REST, no byte is handed out.
func TestTailFromTheFront(t *testing.T) {
	for _, name := range []string{"small", "large"} {
		s := ftptest.New(t, ftptest.Options{Files: map[string]string{"small": "0123456789", "large": string(make([]byte, 3*proofLimit))}})
		s.On("REST", "*", ftptest.Reply(350, "Restarting."))
		p := newPool(t, s)
		_, err := checked(t, p, name, 4)
		isError(t, err, ErrNoRestart)
		if p.Profile().Restart != RestartRefused {
			t.Errorf("%s: REST is %v", name, p.Profile().Restart)
		}
	}
}

// A file that grew between the question for its size and its transfer says
// nothing against REST.
func TestTailOfAGrownFile(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{Files: map[string]string{"f": "0123456789"}})
	s.Add(ftptest.Rule{Verb: "SIZE", Path: "f", Times: 1, Action: ftptest.Reply(213, "8")})
	p := newPool(t, s)
	if b, err := checked(t, p, "f", 4); err != nil || string(b) != "456789" {
		t.Errorf("%q, %v", b, err)
	}
	if p.Profile().Restart != RestartProven {
		t.Errorf("REST is %v", p.Profile().Restart)
	}
}

// A tail that is cut short is an error, and proves nothing.
func TestTailCutShort(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{Files: map[string]string{"f": "0123456789"}})
	s.Add(ftptest.Rule{Verb: "SIZE", Path: "f", Times: 1, Action: ftptest.Reply(213, "12")})
	p := newPool(t, s)
	_, err := checked(t, p, "f", 4)
	isError(t, err, io.ErrUnexpectedEOF)
	if p.Profile().Restart != RestartUnknown {
		t.Errorf("REST is %v", p.Profile().Restart)
	}
	_, err = checked(t, p, "gone", 4)
	isError(t, err, fs.ErrNotExist)
}
