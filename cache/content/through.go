package content

// tailSize is how many bytes that could not be kept on disk stay in memory, for
// readers that ask a little out of order.
const tailSize = 1 << 20

// tail is the latest bytes of one transfer that went past the disk.
type tail struct {
	lo   int64
	data []byte
}

func (t *tail) span() span { return span{t.lo, t.lo + int64(len(t.data))} }

// put adds bytes that follow those of the tail, or begins it anew.
func (t *tail) put(off int64, p []byte) {
	if t.span().hi != off {
		t.lo, t.data = off, t.data[:0]
	}
	t.data = append(t.data, p...)
	if over := len(t.data) - tailSize; over > 0 {
		t.lo += int64(over)
		t.data = append(t.data[:0], t.data[over:]...)
	}
}

// give fills what w waits for from the tail.
func (t *tail) give(w *waiter) { w.take(t.lo, t.data) }

// take copies the bytes of p, which begin at off, that w waits for.
func (w *waiter) take(off int64, p []byte) {
	s := w.cut(span{off, off + int64(len(p))})
	if s.lo >= s.hi || w.p == nil {
		return
	}
	copy(w.p[s.lo-w.lo:s.hi-w.lo], p[s.lo-off:])
	w.got.add(s)
}
