package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/control"
)

// warmShow tells how a warming goes: bars on a terminal, else a line a file, or
// JSON; and in the end a summary. It is used by one goroutine.
type warmShow struct {
	out, err io.Writer
	settings warmSettings
	json     *json.Encoder // nil: text
	bars     *warmBars     // nil: none
	lines    bool          // a line for each file that came
	colour   bool
	begun    time.Time

	plan     control.Plan // of all mounts
	tallies  map[string]tally
	failures []warmFailure
	retries  int
	fetched  int64 // bytes
	refused  string
}

// tally counts the files of one outcome.
type tally struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

type warmFailure struct {
	Path    string `json:"path"`
	Outcome string `json:"outcome"`
	Text    string `json:"text"`
}

func newWarmShow(out, err io.Writer, s warmSettings) *warmShow {
	w := &warmShow{out: out, err: err, settings: s, begun: time.Now(), tallies: make(map[string]tally)}
	switch {
	case s.asJSON:
		w.json = json.NewEncoder(out)
	case !s.dryRun && !s.evict && able() && onTerminal(err):
		w.bars = newWarmBars(err)
	}
	w.lines = w.bars == nil || !onTerminal(out)
	w.colour = able() && os.Getenv("NO_COLOR") == "" && onTerminal(out)
	return w
}

func onTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isTerminal(f)
}

// event tells one event of the mount on point.
func (w *warmShow) event(point string, e control.WarmEvent) error {
	below := e.Path
	e.Path = filepath.Join(point, e.Path)
	switch e.What {
	case control.Planned:
		w.plan.Files += e.Files
		w.plan.Bytes += e.Bytes
		w.plan.ToFetch += e.ToFetch
		w.plan.Missing += e.Missing
		w.plan.Time += e.Time
	case control.Refused:
		w.refused = e.Text
	case control.Retrying:
		w.retries++
	case control.Ended:
		w.ended(e)
	}
	if w.bars != nil {
		w.bars.event(below, e)
	}
	if w.json != nil {
		if e.Path == point && e.What != control.Ended {
			e.Path = ""
		}
		return w.json.Encode(e)
	}
	if !w.lines {
		return nil
	}
	var err error
	path := shownOn(w.out, e.Path)
	switch {
	case e.What == control.Wanted:
		_, err = fmt.Fprintf(w.out, "%-9s %7s  %s\n", "FETCH", showBytes(e.Size-e.Held), path)
	case e.What == control.Ended && e.Text != "":
		_, err = fmt.Fprintf(w.out, "%s %7s  %s: %s\n", w.painted(e.Outcome, 9), "", path, e.Text)
	case e.What == control.Ended:
		_, err = fmt.Fprintf(w.out, "%s %7s  %s\n", w.painted(e.Outcome, 9), showBytes(e.Size), path)
	}
	return err
}

func (w *warmShow) ended(e control.WarmEvent) {
	t := w.tallies[e.Outcome]
	t.Files++
	t.Bytes += e.Size
	w.tallies[e.Outcome] = t
	if e.Outcome == control.OK {
		w.fetched += e.Size
	}
	if e.Outcome == control.NotFound || e.Outcome == control.Error {
		w.failures = append(w.failures, warmFailure{e.Path, e.Outcome, e.Text})
	}
}

// outcomes are in the order in which the summary has them.
var outcomes = []string{control.OK, control.Cached, control.Evicted, control.NotFound, control.Error}

// finish tells the summary.
func (w *warmShow) finish(interrupted bool) {
	if w.bars != nil {
		w.bars.end()
	}
	took := time.Since(w.begun)
	if w.json != nil {
		_ = w.json.Encode(struct { // an error is nobody reading any more
			What        string           `json:"what"`
			Outcomes    map[string]tally `json:"outcomes"`
			Failures    []warmFailure    `json:"failures"`
			Retries     int              `json:"retries"`
			Seconds     float64          `json:"seconds"`
			Interrupted bool             `json:"interrupted"`
		}{"summary", w.tallies, append([]warmFailure{}, w.failures...), w.retries, took.Seconds(), interrupted})
		return
	}
	if w.refused == "" {
		fmt.Fprintln(w.out, w.summary(took))
	}
	for _, f := range w.failures {
		// Broken at spaces: a terminal would break it anywhere.
		line := fmt.Sprintf("mirrorfs: %s: %s: %s", f.Outcome, shownOn(w.err, f.Path), f.Text)
		for _, part := range wrap(line, columnsOf(w.err), 4) {
			fmt.Fprintln(w.err, part)
		}
	}
}

func (w *warmShow) summary(took time.Duration) string {
	var parts []string
	for _, o := range outcomes {
		t, some := w.tallies[o]
		wanted := o != control.Evicted && !w.settings.dryRun
		if w.settings.evict {
			wanted = o == control.Evicted
		}
		if !some && !wanted {
			continue
		}
		part := fmt.Sprintf("%s %d", w.painted(o, 0), t.Files)
		if t.Bytes > 0 {
			part += " (" + showBytes(t.Bytes) + ")"
		}
		parts = append(parts, part)
	}
	if w.settings.dryRun {
		text := fmt.Sprintf("%d of %d files would come, %s of %s", w.plan.ToFetch, w.plan.Files, showBytes(w.plan.Missing), showBytes(w.plan.Bytes))
		switch {
		case w.plan.Time > 0:
			text += ", in about " + showTime(w.plan.Time)
		case w.plan.Missing > 0:
			text += "; how long it takes is not known before something was fetched"
		}
		return strings.Join(append([]string{text}, parts...), "; ")
	}
	text := strings.Join(parts, ", ")
	if w.fetched > 0 {
		text += fmt.Sprintf("; in %s, %s/s", showTime(took), showBytes(int64(float64(w.fetched)/max(took.Seconds(), 1e-3))))
	}
	if w.retries > 0 {
		text += fmt.Sprintf("; retries: %d", w.retries)
	}
	return text
}

// failed is the error of a warming of which not all came.
func (w *warmShow) failed() error {
	switch {
	case w.refused != "":
		return failf(exitFailure, "refused: %s", w.refused)
	case len(w.failures) == 1 && w.settings.evict:
		return failf(exitFailure, "1 of these was not given up")
	case w.settings.evict && len(w.failures) > 0:
		return failf(exitFailure, "%d of these were not given up", len(w.failures))
	case len(w.failures) > 0:
		return failf(exitFailure, "%d did not come", len(w.failures))
	}
	return nil
}

// painted is an outcome, as wide as told, in its colour.
func (w *warmShow) painted(outcome string, width int) string {
	text := fmt.Sprintf("%-*s", width, outcome)
	if !w.colour {
		return text
	}
	code := "32" // green
	switch outcome {
	case control.NotFound:
		code = "33"
	case control.Error:
		code = "31"
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// showTime writes a duration as exactly as is of use.
func showTime(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	}
	s := d.Round(time.Minute).String()
	return strings.TrimSuffix(s, "0s")
}
