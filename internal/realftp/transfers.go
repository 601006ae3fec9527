package realftp

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Transfer is one RETR by the server's log.
type Transfer struct {
	Session  string // the server's own name for it, its process id mostly
	Path     string // from the root, without a leading "/"; vsftpd logs ? for bytes outside ASCII, proftpd resolves links
	Bytes    int64  // sent
	Complete bool   // to the end; pure-ftpd does not log it: what it calls a transfer is taken for one
}

// Transfers are the downloads that the server has logged since the start or Reset.
// Servers log a transfer when it is over, some after their reply, so this waits
// until all that began, as the relay saw it, are logged; after 10 s it is an error,
// as while one is still running. With TLS or NoRelay it returns what is there.
func (s *Server) Transfers() ([]Transfer, error) {
	all, err := s.logged()
	if err != nil || s.relay == nil {
		return all, err
	}
	s.seen(func(r *relay) { all = all[s.skip:] })
	return all, nil
}

// logged returns all transfers in the log, those before Reset too.
func (s *Server) logged() ([]Transfer, error) {
	deadline := time.Now().Add(10 * time.Second)
	for {
		want := 0
		if s.relay != nil {
			s.seen(func(r *relay) { want = s.skip + r.started })
		}
		all, err := products[s.kind].transfers(s)
		if err != nil || len(all) >= want {
			return all, err
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("realftp: %s logged %d of %d transfers", s.kind, len(all), want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// BytesSent is how many bytes of files the server sent by its own log.
func (s *Server) BytesSent() (int64, error) {
	all, err := s.Transfers()
	var n int64
	for _, t := range all {
		n += t.Bytes
	}
	return n, err
}

// logLines calls f with each whole line of one of the server's logs, which may not
// exist yet.
func (s *Server) logLines(name string, f func(line string) error) error {
	file, err := os.Open(filepath.Join(s.dir, name))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	r := bufio.NewReader(file)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil // the rest is not written yet
		}
		if err := f(strings.TrimSuffix(line, "\n")); err != nil {
			return err
		}
	}
}
