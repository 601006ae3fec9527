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
	"time"
)

// maxBody bounds a request; lists of paths are the longest there are.
const maxBody = 64 << 20

// Server answers on a mount's socket until Close.
type Server struct {
	path   string
	mount  Mount
	log    *slog.Logger
	http   *http.Server
	cancel context.CancelFunc // ends the requests under way
	done   chan struct{}      // closed when Serve has returned
}

type uidKey struct{}

// Listen makes the socket in dir, a folder that it makes too, and starts to
// answer. The caller makes sure that no other process does so in dir.
func Listen(dir string, m Mount, log *slog.Logger) (*Server, error) {
	l, err := listen(dir)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{
		path:   filepath.Join(dir, name),
		mount:  m,
		log:    log,
		cancel: cancel,
		done:   make(chan struct{}),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.status)
	mux.HandleFunc("POST /v1/refresh", s.refresh)
	mux.HandleFunc("POST /v1/warm", s.warm())
	mux.HandleFunc("POST /v1/cache/files", s.cacheFiles())
	mux.HandleFunc("POST /v1/cache/verify", s.cacheVerify())
	mux.HandleFunc("POST /v1/cache/room", s.cacheRoom())
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, errors.New("the running mount does not know this request"))
	})
	s.http = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       withUID,
	}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("the control socket no longer answers", "error", err)
		}
	}()
	return s, nil
}

// Path is where the socket is.
func (s *Server) Path() string { return s.path }

// Close ends the requests under way, waits for them a moment, and removes the
// socket.
func (s *Server) Close() error {
	s.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	<-s.done
	return errors.Join(err, os.Remove(s.path))
}

func withUID(ctx context.Context, c net.Conn) context.Context {
	if u, ok := c.(*net.UnixConn); ok {
		if cred, err := peer(u); err == nil {
			return context.WithValue(ctx, uidKey{}, cred.Uid)
		}
	}
	return ctx
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.mount.Status(r.Context())) // an error is the caller gone
}

func (s *Server) refresh(w http.ResponseWriter, r *http.Request) {
	uid, ok := r.Context().Value(uidKey{}).(uint32)
	if !ok {
		fail(w, http.StatusForbidden, errors.New("the caller is not known"))
		return
	}
	var req RefreshRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&req); err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	lines := json.NewEncoder(w)
	flush := http.NewResponseController(w)
	report := func(c Change) error {
		if err := lines.Encode(c); err != nil {
			return err
		}
		return flush.Flush()
	}
	if err := s.mount.Refresh(r.Context(), uid, req, report); err != nil {
		if r.Context().Err() == nil {
			_ = report(Change{What: Failed, Text: err.Error()})
		}
		return
	}
	_ = report(Change{What: Done})
}

type failure struct {
	Error string `json:"error"`
}

func fail(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(failure{err.Error()})
}
