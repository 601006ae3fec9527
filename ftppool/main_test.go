package ftppool

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newPool returns a pool for a server, closed when the test ends.
func newPool(tb testing.TB, s *ftptest.Server, change ...func(*Config)) *Pool {
	tb.Helper()
	cfg := Config{Host: s.Host(), Port: s.Port(), Connections: 4, Timeout: 15 * time.Second}
	if os.Getenv("FTPPOOL_DEBUG") != "" {
		cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	for _, f := range change {
		f(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = p.Close() })
	return p
}

func connections(n int) func(*Config) { return func(c *Config) { c.Connections = n } }

// farAway makes a connected pool wait for a session that is about to come back,
// however long that takes, and not dial another.
func farAway(p *Pool) { p.learn(func(k *knowledge) { k.trip = time.Minute }) }

// timeout bounds a test's request; it is no part of what is tested.
func timeout(tb testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	tb.Cleanup(cancel)
	return ctx
}

func patience(tb testing.TB) context.Context { return timeout(tb, 20*time.Second) }

var (
	lookup = Want{Class: ClassLookup}
	read   = Want{Class: ClassRead}
)

func mustList(tb testing.TB, p *Pool, dir string) *listing.Listing {
	tb.Helper()
	l, err := p.List(patience(tb), lookup, dir)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func names(l *listing.Listing) []string {
	var n []string
	for _, e := range l.Entries {
		n = append(n, e.Raw)
	}
	slices.Sort(n)
	return n
}

func mustOpen(tb testing.TB, p *Pool, want Want, path string, offset int64) Stream {
	tb.Helper()
	s, err := p.Open(patience(tb), want, path, offset)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func readAll(tb testing.TB, p *Pool, path string, offset int64) []byte {
	tb.Helper()
	s := mustOpen(tb, p, read, path, offset)
	b, err := io.ReadAll(s)
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.Close(); err != nil {
		tb.Fatal(err)
	}
	return b
}

// isError fails the test unless err is an Error of the kind.
func isError(tb testing.TB, err, kind error) *Error {
	tb.Helper()
	var e *Error
	if !errors.As(err, &e) {
		tb.Fatalf("got %v, want an *Error", err)
	}
	if !errors.Is(err, kind) {
		tb.Fatalf("got %v, want one that is %v", err, kind)
	}
	return e
}

// await waits until the pool's status is as wanted.
func await(tb testing.TB, p *Pool, cond func(Status) bool) {
	tb.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !cond(p.Status()) {
		if time.Now().After(deadline) {
			tb.Fatalf("the pool never came to be as wanted: %+v", p.Status())
		}
		time.Sleep(time.Millisecond)
	}
}

// debugLog logs everything to w, which is read after the pool is closed.
func debugLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// lossyRelay stands before a server like one that reads into a buffer and
// forgets what follows the first line in it.
type lossyRelay struct {
	l  net.Listener
	to string
	wg sync.WaitGroup
}

func (r *lossyRelay) start(tb testing.TB) {
	var mu sync.Mutex
	var open []net.Conn
	r.wg.Go(func() {
		for {
			c, err := r.l.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("tcp", r.to)
			if err != nil {
				tb.Error(err)
				return
			}
			mu.Lock()
			open = append(open, c, s)
			mu.Unlock()
			r.wg.Go(func() {
				_, _ = io.Copy(c, s)
				_ = c.Close()
			})
			r.wg.Go(func() {
				defer s.Close()
				b := make([]byte, 4096)
				for {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					line, _, _ := bytes.Cut(b[:n], []byte("\n"))
					if _, err := s.Write(append(line, '\n')); err != nil {
						return
					}
				}
			})
		}
	})
	tb.Cleanup(func() {
		_ = r.l.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		r.wg.Wait()
	})
}

// isNetwork reports whether err comes from a connection that was lost.
func isNetwork(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNREFUSED)
}
