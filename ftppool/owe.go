package ftppool

import "errors"

// This file is about the time between the last byte of a transfer and the reply
// that ends it. Many servers send that reply a round trip later, when they know
// that the data has arrived. Whether a file is whole is told by its size, so the
// next owner of the session need not wait: its commands are sent meanwhile, and
// the reply is owed, the first to come. A server that has ended its data
// connection no longer reads commands as part of the transfer.
//
// A listing has no size, so its reply is waited for.

// owe makes a session whose transfer has come to its end ready for its next
// owner. It reports false when that is not worth it or not safe.
func (s *session) owe() bool {
	k := s.pool.known()
	if !k.together() || k.noOwing || s.ctl.in.Buffered() > 0 || !s.pool.wanting() {
		return false
	}
	s.closeData()
	s.ctl.owed = true
	if !s.inStep() {
		s.ctl.owed = false
	}
	return s.ctl.owed
}

// blameOwing has nothing be owed any more on a server where it spoiled a
// request, which began when something was owed.
func (s *session) blameOwing(err error) {
	var silent *silentError
	if errors.Is(err, ErrProtocol) && !s.ctl.closing || errors.As(err, &silent) && s.ctl.owed {
		s.pool.learn(func(k *knowledge) { k.noOwing = true })
	}
}
