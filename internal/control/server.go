package control

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// maxBody bounds a request of the owner's; lists of paths are the longest there
// are.
const maxBody = 64 << 20

// How long a caller may take.
const (
	askFor  = time.Minute     // to send a request
	hearFor = 2 * time.Minute // to take a line of the answer, others than the owner
)

// Server answers on a mount's sockets until Close.
type Server struct {
	path    string
	meeting *meeting // nil: others are not answered
	mount   Mount
	log     *slog.Logger
	http    *http.Server
	cancel  context.CancelFunc // ends the requests under way
	serving sync.WaitGroup     // a goroutine for each socket
	bounds  bounds             // of what others may ask for
}

// Options say how a Server answers.
type Options struct {
	Others bool         // it also answers other users, as far as the Mount admits them
	Log    *slog.Logger // required
}

// Listen makes the socket in dir, a folder that it makes too, and starts to
// answer. The caller makes sure that no other process does so in dir. Others are
// answered at a socket of their own; where it can't be made, they are not.
func Listen(dir string, m Mount, o Options) (*Server, error) {
	l, err := listen(dir)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{
		path:   filepath.Join(dir, name),
		mount:  m,
		log:    o.Log,
		cancel: cancel,
	}
	s.http = &http.Server{
		Handler:           s.admit(s.routes()),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       withCaller,
	}
	s.serve(l)
	link := filepath.Join(dir, "others")
	if !o.Others {
		if err := removeStale(link); err != nil {
			s.log.Warn("the socket of an earlier mount is left behind", "error", err)
		}
		return s, nil
	}
	if err := s.invite(link); err != nil {
		s.log.Warn("users other than the owner can't speak to this mount", "error", err)
	}
	return s, nil
}

// invite answers other users.
func (s *Server) invite(link string) error {
	m, err := newMeeting(link)
	if err != nil {
		return err
	}
	l, err := listenOthers(m.dir)
	if err != nil {
		return errors.Join(err, m.remove())
	}
	s.meeting = m
	s.serve(boundListener{l, &s.bounds})
	return nil
}

func (s *Server) serve(l net.Listener) {
	s.serving.Go(func() {
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("the control socket no longer answers", "error", err)
		}
	})
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.status)
	mux.HandleFunc("POST /v1/refresh", s.refresh())
	mux.HandleFunc("POST /v1/warm", s.warm())
	mux.HandleFunc("POST /v1/cache/files", s.cacheFiles())
	mux.HandleFunc("POST /v1/cache/verify", s.cacheVerify())
	mux.HandleFunc("POST /v1/cache/room", s.cacheRoom())
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, errors.New("the running mount does not know this request, it is of another version than this command; unmount and mount again to use it"))
	})
	return mux
}

// Path is where the socket is.
func (s *Server) Path() string { return s.path }

// PathForOthers is where that of other users is, "" if there is none.
func (s *Server) PathForOthers() string {
	if s.meeting == nil {
		return ""
	}
	return filepath.Join(s.meeting.dir, name)
}

// Close ends the requests under way, waits for them a moment, and removes the
// sockets.
func (s *Server) Close() error {
	s.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	s.serving.Wait()
	err = errors.Join(err, os.Remove(s.path))
	if s.meeting != nil {
		err = errors.Join(err, s.meeting.remove())
	}
	return err
}

type callerKey struct{}

// privileged reports whether a user is root or the one who mounted.
func privileged(uid uint32) bool { return uid == 0 || int(uid) == os.Geteuid() }

// withCaller keeps who has connected.
func withCaller(ctx context.Context, c net.Conn) context.Context {
	if b, ok := c.(*boundConn); ok {
		c = b.UnixConn
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	cred, err := peer(u)
	if err != nil {
		return ctx
	}
	groups, err := groupsOf(u, cred)
	if err != nil {
		groups = []uint32{cred.Gid}
	}
	return context.WithValue(ctx, callerKey{}, Caller{cred.Uid, groups})
}

// callerOf is who asks; admit sees to it that it is known.
func callerOf(r *http.Request) Caller {
	c, _ := r.Context().Value(callerKey{}).(Caller)
	return c
}

// admit passes on requests of those who may ask.
func (s *Server) admit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, ok := r.Context().Value(callerKey{}).(Caller)
		if !ok {
			fail(w, http.StatusForbidden, errors.New("the caller is not known"))
			return
		}
		if err := s.mount.Admit(who); err != nil {
			fail(w, http.StatusForbidden, err)
			return
		}
		if !privileged(who.UID) {
			if !s.bounds.begin(who.UID) {
				fail(w, http.StatusTooManyRequests, errBusy)
				return
			}
			defer s.bounds.end(who.UID)
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.mount.Status(r.Context())) // an error is the caller gone
}

// refresh answers without the frame that later requests have: each line is a
// Change.
func (s *Server) refresh() http.HandlerFunc {
	return answering(func(ctx context.Context, who Caller, r RefreshRequest, write func(any) error) {
		err := s.mount.Refresh(ctx, who.UID, r, func(c Change) error { return write(c) })
		switch {
		case err == nil:
			_ = write(Change{What: Done})
		case ctx.Err() == nil:
			_ = write(Change{What: Failed, Text: err.Error()})
		}
	})
}

type failure struct {
	Error string `json:"error"`
}

func fail(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(failure{err.Error()})
}
