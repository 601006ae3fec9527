package ftppool

import (
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

func (w *wire) allows() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.silence
}

// A session that was idle for long has little time for its first reply, to show
// that it works, and all the time for others.
func TestSilenceAfterTheFirstReply(t *testing.T) {
	p := newPool(t, ftptest.New(t, ftptest.Options{}))
	s, err := p.acquire(patience(t), lookup, false)
	if err != nil {
		t.Fatal(err)
	}
	s.used, s.lastUsed = true, time.Now().Add(-time.Minute)
	_, err = p.use(patience(t), s, func(s *session) error {
		if got := s.ctl.wire.allows(); got != reuseSilence {
			t.Errorf("at first %v", got)
		}
		_, err := s.ctl.exchange(false, "NOOP")
		if got := s.ctl.wire.allows(); got != p.cfg.silence() {
			t.Errorf("then %v", got)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// What follows the proof of REST in a request has all the time.
func TestSilenceAfterTheProof(t *testing.T) {
	p := newPool(t, ftptest.New(t, ftptest.Options{Files: map[string]string{"f": "1234"}}), func(c *Config) { c.Timeout = time.Minute })
	err := p.with(patience(t), read, opOpen, "f", func(s *session) error {
		err := s.proveRestart("f")
		if got := s.ctl.wire.allows(); got != p.cfg.silence() {
			t.Errorf("%v", got)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
