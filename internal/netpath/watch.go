package netpath

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lookAgain = 2 * time.Second        // between looks at the clocks
	settled   = 300 * time.Millisecond // no news for that long
	unsettled = 3 * time.Second        // the longest time to wait for that
	nap       = 5 * time.Second        // a sleep that connections survive
)

// Event is what a Watcher tells.
type Event uint8

// The events.
const (
	// Changed: addresses, routes or links are no longer what they were. Most
	// changes concern nobody; compare what Between says now and said before.
	Changed Event = iota
	// Slept: the machine was suspended, for long enough that peers may have
	// given up its connections.
	Slept
)

// Clock tells how long the machine has been awake, and how long it has been on.
type Clock func() (awake, on time.Duration)

// Watcher tells of changes until it is closed.
type Watcher struct {
	news *os.File // nil where the kernel tells none
	tell func(Event)
	now  Clock
	quit chan struct{}
	done sync.WaitGroup
}

// Watch begins to tell of events, one after another: news of the network once
// nothing more has come for a moment, sleep soon after waking up. A nil clock is
// the machine's own. The error says why there is no news of the network; the
// Watcher then tells of sleep alone.
func Watch(clock Clock, tell func(Event)) (*Watcher, error) {
	if clock == nil {
		clock = machine
	}
	w := &Watcher{tell: tell, now: clock, quit: make(chan struct{})}
	var err error
	w.news, err = open(1<<(unix.RTNLGRP_LINK-1) |
		1<<(unix.RTNLGRP_IPV4_IFADDR-1) | 1<<(unix.RTNLGRP_IPV4_ROUTE-1) | 1<<(unix.RTNLGRP_IPV4_RULE-1) |
		1<<(unix.RTNLGRP_IPV6_IFADDR-1) | 1<<(unix.RTNLGRP_IPV6_ROUTE-1))
	news := make(chan struct{}, 1)
	if err == nil {
		w.done.Go(func() { w.listen(news) })
	}
	slept := w.sleeps()
	w.done.Go(func() { w.run(news, slept) })
	return w, err
}

// Close ends the telling; nothing is told once it has returned.
func (w *Watcher) Close() error {
	close(w.quit)
	var err error
	if w.news != nil {
		err = w.news.Close()
	}
	w.done.Wait()
	return err
}

// listen passes on that there is news.
func (w *Watcher) listen(news chan<- struct{}) {
	b := make([]byte, 1<<16)
	for {
		// What is lost because too much came (ENOBUFS) is news too.
		if _, err := w.news.Read(b); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return
		}
		select {
		case news <- struct{}{}:
		default:
		}
	}
}

func (w *Watcher) run(news <-chan struct{}, slept func() bool) {
	clocks := time.NewTicker(lookAgain)
	defer clocks.Stop()
	quiet := time.NewTimer(time.Hour)
	quiet.Stop()
	defer quiet.Stop()
	var since time.Time // of the first news not told yet
	for {
		changed := false
		select {
		case <-w.quit:
			return
		case <-clocks.C:
		case <-news:
			if since.IsZero() {
				since = time.Now()
			}
			quiet.Reset(min(settled, time.Until(since.Add(unsettled))))
		case <-quiet.C:
			changed, since = true, time.Time{}
		}
		if slept() {
			w.tell(Slept)
		}
		if changed {
			w.tell(Changed)
		}
	}
}

// sleeps returns a function that reports whether the machine slept since it was
// called last.
func (w *Watcher) sleeps() func() bool {
	awake, on := w.now()
	before := on - awake
	return func() bool {
		awake, on := w.now()
		asleep := on - awake - before
		before = on - awake
		return asleep > nap
	}
}

// machine is the kernel's clocks: one stands still while the machine sleeps.
func machine() (awake, on time.Duration) {
	return clock(unix.CLOCK_MONOTONIC), clock(unix.CLOCK_BOOTTIME)
}

func clock(id int32) time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(id, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
