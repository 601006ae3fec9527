package proxy_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/mirrorfs/mirrorfs/internal/proxy"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A name that only the proxy can resolve is reached through either kind, and
// what the server says at once, as FTP servers do, is not lost.
func TestNamesAreResolvedByTheProxy(t *testing.T) {
	server := listen(t, func(c net.Conn) {
		io.WriteString(c, "220 ready\r\n")
		line, _ := bufio.NewReader(c).ReadString('\n')
		io.WriteString(c, "you said "+line)
	})
	for scheme, speak := range map[string]func(net.Conn, *seen) (string, bool){
		"socks5h": speakSOCKS, "http": speakHTTP,
	} {
		t.Run(scheme, func(t *testing.T) {
			var seen seen
			addr := listen(t, func(c net.Conn) {
				if _, ok := speak(c, &seen); !ok {
					return
				}
				relay(t, c, server)
			})
			dial, err := proxy.New(scheme + "://me:secret@" + addr)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := dial(t.Context(), "tcp", "ftp.only-the-proxy-knows.invalid:2121")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			in := bufio.NewReader(conn)
			if line, err := in.ReadString('\n'); line != "220 ready\r\n" {
				t.Fatalf("banner %q, %v", line, err)
			}
			io.WriteString(conn, "hello\n")
			if line, err := in.ReadString('\n'); line != "you said hello\n" {
				t.Fatalf("answer %q, %v", line, err)
			}
			if seen.target() != "ftp.only-the-proxy-knows.invalid:2121" || seen.login() != "me:secret" {
				t.Fatalf("the proxy saw target %q, login %q", seen.target(), seen.login())
			}
		})
	}
}

func TestRefusalsNameTheProxyAndNotThePassword(t *testing.T) {
	refusing := listen(t, func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
	})
	dial, err := proxy.New("http://me:secret@" + refusing)
	if err != nil {
		t.Fatal(err)
	}
	_, err = dial(t.Context(), "tcp", "ftp.example.org:21")
	if err == nil || !strings.Contains(err.Error(), refusing) || !strings.Contains(err.Error(), "403") || strings.Contains(err.Error(), "secret") {
		t.Fatalf("got %v", err)
	}
	for _, bad := range []string{"ftp://me:secret@host", "socks5h://", "%%secret", "host:1080"} {
		if _, err := proxy.New(bad); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", bad, err)
		}
	}
}

func TestSilentProxyEndsWithTheContext(t *testing.T) {
	asked := make(chan struct{})
	silent := listen(t, func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		close(asked)
		io.Copy(io.Discard, c) // until the client gives up
	})
	dial, err := proxy.New("http://" + silent)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := dial(ctx, "tcp", "ftp.example.org:21"); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
}

type seen struct {
	mu     sync.Mutex
	values [2]string
}

func (s *seen) note(target, login string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values = [2]string{target, login}
}

func (s *seen) target() string { s.mu.Lock(); defer s.mu.Unlock(); return s.values[0] }
func (s *seen) login() string  { s.mu.Lock(); defer s.mu.Unlock(); return s.values[1] }

func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

func relay(t *testing.T, c net.Conn, server string) {
	up, err := net.Dial("tcp", server)
	if err != nil {
		t.Error(err)
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(up, c); up.Close() })
	io.Copy(c, up)
	c.Close()
	wg.Wait()
}

func speakHTTP(c net.Conn, s *seen) (string, bool) {
	req, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil || req.Method != http.MethodConnect {
		return "", false
	}
	login, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(req.Header.Get("Proxy-Authorization"), "Basic "))
	s.note(req.Host, string(login))
	io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
	return req.Host, true
}

// speakSOCKS is the proxy's half of RFC 1928 and RFC 1929.
func speakSOCKS(c net.Conn, s *seen) (string, bool) {
	take := func(n int) []byte {
		b := make([]byte, n)
		io.ReadFull(c, b)
		return b
	}
	take(int(take(2)[1])) // the methods offered
	c.Write([]byte{5, 2}) // user and password
	user := take(int(take(2)[1]))
	password := take(int(take(1)[0]))
	c.Write([]byte{1, 0})
	if head := take(4); head[3] != 3 { // not a host name
		return "", false
	}
	host := take(int(take(1)[0]))
	port := take(2)
	target := net.JoinHostPort(string(host), strconv.Itoa(int(port[0])<<8|int(port[1])))
	s.note(target, string(user)+":"+string(password))
	c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	return target, true
}
