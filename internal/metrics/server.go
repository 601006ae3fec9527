package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/control"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Address completes what a user wrote: a port alone, with or without a colon, is
// one of loopback; a host needs a port. An IPv6 address stands in brackets.
func Address(text string) (string, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		host, port = "", text
		if strings.ContainsAny(text, ":[]") {
			return "", errors.New("must be a port, or a HOST:PORT, an IPv6 address in brackets")
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("must end with a port from 1 to 65535, like 9100 or 127.0.0.1:9100, not %q", port)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// Server answers at /metrics until Close.
type Server struct {
	listener net.Listener
	http     *http.Server
	serving  sync.WaitGroup
}

// What those who ask may take.
const (
	maxAsking = 4
	askFor    = 10 * time.Second
)

// Listen takes the address, as Address gives it. Nobody is answered before Serve.
func Listen(ctx context.Context, address string) (*Server, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &Server{listener: l}, nil
}

// Addr is where it listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve begins to answer with the figures of status, which is called at each
// scrape, by several goroutines. It is called once.
func (s *Server) Serve(status func() control.Status, log *slog.Logger) {
	quiet := slog.NewLogLogger(log.Handler(), slog.LevelDebug)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry(status), promhttp.HandlerOpts{
		ErrorLog: quiet, MaxRequestsInFlight: maxAsking, Timeout: askFor,
	}))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "A mirrorfs mount; its metrics are at /metrics.")
	})
	s.http = &http.Server{
		Handler: mux, ErrorLog: quiet, MaxHeaderBytes: 16 << 10,
		ReadTimeout: askFor, WriteTimeout: 2 * askFor, IdleTimeout: 2 * time.Minute,
	}
	s.serving.Go(func() {
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics are no longer served", "error", err)
		}
	})
}

// Close ends it, and waits a moment for those who ask just then.
func (s *Server) Close() error {
	if s.http == nil {
		return s.listener.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	s.serving.Wait()
	return err
}
