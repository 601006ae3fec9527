package fs

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// request is the context of one kernel request. It ends when its caller is
// being ended by a signal, or the mount is gone, and only then.
//
// The kernel tells of any signal, the timers of a program and the preemption
// of Go's runtime among them, and tells only once. Answering EINTR to those
// breaks programs, so after the kernel's word the caller's pending signals are
// looked at until one that ends it is there or the request is answered.
//
// Of reads the kernel tells nothing, since it makes them ahead for a caller
// that then waits for the page; there the signals are looked at from the
// beginning.
//
// Most requests never wait; the goroutine that watches begins when something
// asks for Done.
type request struct {
	m         *mount
	caller    fuse.Caller
	read      bool
	interrupt <-chan struct{} // closed by go-fuse

	mu   sync.Mutex    // guards the rest
	done chan struct{} // nil until Done was called
	over chan struct{} // closed by finish; made with done
	err  error         // set before done is closed
}

var _ context.Context = (*request)(nil)

// interruptPoll is how often the signals of a caller that was interrupted
// without need are looked at again.
const interruptPoll = 100 * time.Millisecond

// request wraps the context that go-fuse gives. The caller defers finish.
func (m *mount) request(ctx context.Context) *request {
	r := &request{m: m, interrupt: ctx.Done()}
	if c, ok := fuse.FromContext(ctx); ok {
		r.caller = *c
	}
	return r
}

func (r *request) finish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over != nil {
		close(r.over)
		r.over = nil
	}
}

func (r *request) Deadline() (time.Time, bool) { return time.Time{}, false }
func (r *request) Value(any) any               { return nil }

func (r *request) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *request) Done() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done == nil {
		r.done, r.over = make(chan struct{}), make(chan struct{})
		r.m.watchers.Add(1)
		go r.watch(r.over)
	}
	return r.done
}

// watch ends the context when it must. It ends with the request.
func (r *request) watch(over <-chan struct{}) {
	defer r.m.watchers.Done()
	tick := time.NewTicker(interruptPoll)
	defer tick.Stop()
	interrupt, told := r.interrupt, false
	for {
		select {
		case <-over:
			return
		case <-interrupt:
			interrupt, told = nil, true
		case <-tick.C:
		}
		// At the end go-fuse tells those that it knows to be under way, but not one
		// that it has just read from the kernel.
		if r.m.gone() || (told || r.read) && r.ending(told) {
			break
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = context.Canceled
	close(r.done)
}

// Signals that are meant to end a program.
const (
	kill   = 1 << (syscall.SIGKILL - 1)
	ending = kill | 1<<(syscall.SIGHUP-1) | 1<<(syscall.SIGINT-1) | 1<<(syscall.SIGQUIT-1) | 1<<(syscall.SIGTERM-1)
)

// ending reports whether the caller has a signal pending that it does not block
// and that is meant to end it. One that can't be looked at, because it has ended
// or lives in another pid namespace, counts as being ended if the kernel told.
//
// A failed read ends a program that waits for it in a system call with EINTR,
// but one that waits in a page fault with SIGBUS, which no Ctrl-C should do: an
// R session would be lost.
func (r *request) ending(told bool) bool {
	thread := "/proc/" + strconv.FormatUint(uint64(r.caller.Pid), 10)
	status, err := os.ReadFile(thread + "/status")
	if err != nil {
		// With /proc mounted hidepid=2 other users' processes are missing too.
		gone := errors.Is(err, fs.ErrNotExist) && r.caller.Pid != 0 && unix.Kill(int(r.caller.Pid), 0) == unix.ESRCH
		return told || gone
	}
	pending := (signalSet(status, "SigPnd:") | signalSet(status, "ShdPnd:")) &^ signalSet(status, "SigBlk:")
	switch {
	case pending&ending == 0:
		return false
	case pending&kill != 0 || !r.read:
		return true
	}
	// Says -1 outside of system calls. Not everybody may read it.
	call, err := os.ReadFile(thread + "/syscall")
	if err != nil {
		return told
	}
	return !bytes.HasPrefix(call, []byte("-1 "))
}

// signalSet returns the mask on the line of /proc/TID/status that begins so.
func signalSet(status []byte, field string) uint64 {
	set, _ := strconv.ParseUint(statusField(status, field), 16, 64)
	return set
}

func statusField(status []byte, field string) string {
	for line := range bytes.Lines(status) {
		if v, ok := bytes.CutPrefix(line, []byte(field)); ok {
			return string(bytes.TrimSpace(v))
		}
	}
	return ""
}
