package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"
)

// results are what a run measured, in the form that -json keeps.
type results struct {
	Machine  string   `json:"machine"`
	Versions []string `json:"versions"`
	Rows     []row    `json:"rows"`
	LeftOut  []string `json:"left_out,omitempty"`
}

// row is one workload with the figures of its contenders, the first of which
// the others are compared with.
type row struct {
	Title   string    `json:"title"`
	Unit    string    `json:"unit"` // "s", "MiB" or "bytes"
	Goals   []goal    `json:"goals"`
	Figures []figures `json:"figures"`
}

// figures are those of one contender, by round.
type figures struct {
	Name     string    `json:"name"`
	Values   []float64 `json:"values"`
	Commands []int     `json:"commands,omitempty"` // FTP commands that the server got
}

// rows makes rows of what was measured. What stood unused is compared with
// those who mount nothing, and so have nothing to rest, as they are in now.
func (m *measured) rows(rest time.Duration, now []*measured) []row {
	w := m.workload
	r := row{Title: w.title(), Unit: w.unit(), Goals: w.goals}
	peaks := row{Title: w.title() + ": peak memory", Unit: "MiB"}
	add := func(m *measured, wanted func(entry) bool) {
		for i, e := range m.workload.entries {
			if !wanted(e) || len(m.samples) == 0 || len(m.samples[i]) == 0 {
				continue
			}
			f, p := figures{Name: e.name}, figures{Name: e.name}
			for _, s := range m.samples[i] {
				f.Values = append(f.Values, s.figure)
				f.Commands = append(f.Commands, s.commands)
				p.Values = append(p.Values, float64(s.peak)/mib)
			}
			r.Figures = append(r.Figures, f)
			if e.mounts {
				peaks.Figures = append(peaks.Figures, p)
			}
		}
	}
	add(m, func(entry) bool { return true })
	if m.rested {
		r.Title += ", after " + span(rest) + " unused"
		for _, other := range now {
			if other.workload.title() == w.title() {
				add(other, func(e entry) bool { return !e.mounts })
			}
		}
		return []row{r}
	}
	switch {
	case len(r.Figures) == 0:
		return nil
	case w.memory == nil || len(peaks.Figures) == 0:
		return []row{r}
	}
	peaks.Goals = []goal{*w.memory}
	return []row{r, peaks}
}

// span is a time as people write it: 10 min, 90 s.
func span(d time.Duration) string {
	if d%time.Minute == 0 {
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}

// add appends another part of the same comparison.
func (r *results) add(part results) {
	if r.Machine == "" {
		r.Machine, r.Versions = part.Machine, part.Versions
	}
	for _, v := range part.Versions {
		if !slices.Contains(r.Versions, v) {
			r.Versions = append(r.Versions, v)
		}
	}
	r.Rows = append(r.Rows, part.Rows...)
	for _, l := range part.LeftOut {
		if !slices.Contains(r.LeftOut, l) {
			r.LeftOut = append(r.LeftOut, l)
		}
	}
}

func readResults(name string) (results, error) {
	var r results
	text, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	return r, err
}

func (r results) write(name string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(text, '\n'), 0o644)
}

// of returns a contender's figures, false when it did not take part.
func (r row) of(name string) (figures, bool) {
	i := slices.IndexFunc(r.Figures, func(f figures) bool { return f.Name == name })
	if i < 0 {
		return figures{}, false
	}
	return r.Figures[i], true
}

// reached is what a goal bounds: a ratio of medians, or a median.
func (r row) reached(g goal) (float64, bool) {
	f, ok := r.of(g.Contender)
	if !ok || g.Base == "" {
		return median(f.Values), ok
	}
	base, ok := r.of(g.Base)
	return median(f.Values) / median(base.Values), ok
}

// median of the values, 0 of none.
func median[T int | float64](values []T) float64 {
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	switch {
	case n == 0:
		return 0
	case n%2 == 1:
		return float64(s[n/2])
	}
	return float64(s[n/2-1]+s[n/2]) / 2
}
