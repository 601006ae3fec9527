package ftppool

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// readPiped reads a stream to its end through a pipe.
func readPiped(tb testing.TB, s Stream) ([]byte, error) {
	tb.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	var all []byte
	for {
		n, err := s.(Piped).ReadPipe(int(w.Fd()), 50_000)
		if n > 0 {
			b := make([]byte, n)
			if _, err := io.ReadFull(r, b); err != nil {
				tb.Fatal(err)
			}
			all = append(all, b...)
		}
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

// Read and ReadPipe take turns on one stream, and either is counted.
func TestReadPipe(t *testing.T) {
	tree := ftptest.NewTree()
	tree.Generate("f", 3<<20, 1, someTime)
	s := ftptest.New(t, ftptest.Options{Tree: tree})
	p := newPool(t, s, connections(1), func(c *Config) { c.BandwidthLimit = 1 << 30 })
	f := mustOpen(t, p, read, "f", 1000)
	head := make([]byte, 70_000)
	if _, err := io.ReadFull(f, head); err != nil {
		t.Fatal(err)
	}
	if st := p.Status(); len(st.Transfers) != 1 || st.Transfers[0].Bytes != 70_000 {
		t.Errorf("transfers: %+v", st.Transfers)
	}
	rest, err := readPiped(t, f)
	if err != nil || !bytes.Equal(append(head, rest...), tree.ReadFile("f")[1000:]) {
		t.Errorf("%d bytes, %v, or other ones", len(rest), err)
	}
	if _, err := f.Read(head); err != io.EOF {
		t.Errorf("Read after the end: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if got := readAll(t, p, "f", 0); len(got) != 3<<20 || p.Status().Logins != 1 {
		t.Errorf("%d bytes, %d logins: the session was not kept", len(got), p.Status().Logins)
	}
}

func TestCloseWhileReadingIntoPipe(t *testing.T) {
	s, _ := slowServer(t, ftptest.Options{})
	p := newPool(t, s, connections(1))
	big := mustOpen(t, p, read, "big", 0)
	done := make(chan error)
	go func() {
		_, err := readPiped(t, big)
		done <- err
	}()
	await(t, p, func(st Status) bool { return len(st.Transfers) == 1 && st.Transfers[0].Bytes == 1<<20 })
	_ = big.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("ReadPipe gave %v", err)
	}
}

// A stream that ends just as it is read into a pipe takes nothing of the next
// transfer on the same session.
func TestReadPipeAfterTheSessionWentOn(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{Files: map[string]string{"one": "1111", "two": "2222"}})
	p := newPool(t, s, connections(1))
	for _, why := range []error{ErrPreempted, ErrClosed} {
		one := mustOpen(t, p, read, "one", 0).(*stream)
		one.end(why)
		two := mustOpen(t, p, read, "two", 0)
		if two.(*stream).session != one.session {
			t.Fatal("the session was not kept")
		}
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if n, err := one.readPipe(int(w.Fd()), 100); n != 0 || !errors.Is(err, why) {
			t.Errorf("after %v: %d bytes, %v", why, n, err)
		}
		_, _ = w.Close(), r.Close()
		if b, err := io.ReadAll(two); string(b) != "2222" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
		_ = two.Close()
	}
}

// dialWrapped makes connections that are not plainly sockets.
func dialWrapped(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr)
	return struct{ net.Conn }{c}, err
}

// Encrypted bytes, and those of a connection that somebody else made, have to
// be read; asking for more costs none of them.
func TestReadPipeUnsupported(t *testing.T) {
	ca := ftptest.NewCA()
	for name, set := range map[string]func(*ftptest.Options, *Config){
		"encrypted": func(o *ftptest.Options, c *Config) {
			o.TLS, o.TLSMode = ca.Issue("127.0.0.1").Config(), ftptest.ExplicitTLS
			c.TLS, c.TLSConfig = ExplicitTLS, &tls.Config{RootCAs: ca.Pool()}
		},
		"dialled elsewhere": func(_ *ftptest.Options, c *Config) { c.Dial = dialWrapped },
	} {
		t.Run(name, func(t *testing.T) {
			tree := ftptest.NewTree()
			tree.WriteFile("f", []byte("0123456789"), someTime)
			o, cfg := ftptest.Options{Tree: tree}, Config{}
			set(&o, &cfg)
			p := newPool(t, ftptest.New(t, o), func(c *Config) { c.TLS, c.TLSConfig, c.Dial = cfg.TLS, cfg.TLSConfig, cfg.Dial })
			f := mustOpen(t, p, read, "f", 0)
			defer f.Close()
			if b, err := readPiped(t, f); len(b) != 0 || !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("%q, %v", b, err)
			}
			if b, err := io.ReadAll(f); string(b) != "0123456789" || err != nil {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
}
