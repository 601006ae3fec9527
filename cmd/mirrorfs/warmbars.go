package main

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/control"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// warmBars draws a bar for the whole, below one for each file that is under way.
type warmBars struct {
	progress *mpb.Progress
	total    *mpb.Bar
	want     int64 // bytes in all
	done     int64 // of files that have ended
	files    map[string]*fileBar
	samples  []sample // of the last seconds

	rate, came atomic.Int64 // bytes a second, bytes: read while drawing
	planned    atomic.Int64
}

// fileBar is the bar of one file.
type fileBar struct {
	bar         *mpb.Bar
	size, begun int64 // bytes; those held when it began
	held        int64
	retries     atomic.Int64
}

// sample is how many bytes had come at a time.
type sample struct {
	at    time.Time
	bytes int64
}

// rateOver is over how long the rate is measured.
const rateOver = 10 * time.Second

// nameColumns is the width of names beside bars; a longer one loses its middle.
const nameColumns = 26

func newWarmBars(w io.Writer) *warmBars {
	b := &warmBars{progress: mpb.New(mpb.WithOutput(w)), files: make(map[string]*fileBar)}
	b.total = b.progress.New(0, barStyle(),
		mpb.BarPriority(1<<30),
		mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string {
			return fmt.Sprintf("%s of %s", showBytes(b.came.Load()), showBytes(b.planned.Load()))
		}, decor.WC{W: nameColumns, C: decor.DindentRight})),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
			rate, left := b.rate.Load(), b.planned.Load()-b.came.Load()
			if rate <= 0 || left < 0 {
				return "        "
			}
			eta := time.Duration(float64(left) / float64(rate) * float64(time.Second))
			return fmt.Sprintf("%6s/s  %s left", showBytes(rate), showTime(eta.Truncate(time.Second)))
		}, decor.WC{W: 22})))
	return b
}

func barStyle() mpb.BarFillerBuilder {
	return mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]")
}

func (b *warmBars) event(name string, e control.WarmEvent) {
	switch e.What {
	case control.Planned:
		b.want += e.Missing
		b.planned.Store(b.want)
		b.samples = append(b.samples[:0], sample{time.Now(), b.sum()})
	case control.Started:
		f := &fileBar{size: e.Size, begun: e.Held, held: e.Held}
		f.bar = b.progress.New(max(e.Size, 1), barStyle(),
			mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name(shorten(printable(name), nameColumns-1), decor.WC{W: nameColumns, C: decor.DindentRight})),
			mpb.AppendDecorators(decor.Any(func(s decor.Statistics) string {
				text := fmt.Sprintf("%3d %% of %6s", 100*s.Current/max(s.Total, 1), showBytes(s.Total))
				if n := f.retries.Load(); n > 0 {
					text += fmt.Sprintf(" retry %d", n)
				}
				return text
			}, decor.WC{W: 22})))
		f.bar.SetCurrent(min(e.Held, max(e.Size-1, 0)))
		b.files[name] = f
	case control.Progress:
		if f := b.files[name]; f != nil {
			f.held = e.Held
			f.retries.Store(0)
			f.bar.SetCurrent(min(e.Held, f.size-1)) // at the end it would go before it is confirmed
		}
	case control.Retrying:
		if f := b.files[name]; f != nil {
			f.retries.Store(int64(e.Attempt))
		}
	case control.Ended:
		if f := b.files[name]; f != nil {
			if e.Outcome == control.OK {
				f.held = f.size
			}
			b.done += f.held - f.begun
			f.bar.Abort(true)
			delete(b.files, name)
		}
	}
	b.measure()
}

// sum is how many bytes have come.
func (b *warmBars) sum() int64 {
	n := b.done
	for _, f := range b.files {
		n += f.held - f.begun
	}
	return n
}

// measure updates the bar of the whole and the rate.
func (b *warmBars) measure() {
	now, sum := time.Now(), b.sum()
	b.came.Store(sum)
	if b.want > 0 {
		b.total.SetTotal(b.want+1, false) // it ends when the command does
		b.total.SetCurrent(min(sum, b.want))
	}
	if n := len(b.samples); n == 0 || now.Sub(b.samples[n-1].at) >= 200*time.Millisecond {
		b.samples = append(b.samples, sample{now, sum})
	}
	for len(b.samples) > 2 && now.Sub(b.samples[1].at) > rateOver {
		b.samples = b.samples[1:]
	}
	if first := b.samples[0]; now.Sub(first.at) > 500*time.Millisecond {
		b.rate.Store(int64(float64(sum-first.bytes) / now.Sub(first.at).Seconds()))
	}
}

// end takes the bars away.
func (b *warmBars) end() {
	for _, f := range b.files {
		f.bar.Abort(true)
	}
	b.total.Abort(true)
	b.progress.Wait()
}
