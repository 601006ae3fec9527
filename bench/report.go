package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
	"time"
)

func isRclone(contender string) bool { return strings.HasPrefix(contender, "rclone") }

func median(times []time.Duration) float64 {
	s := slices.Clone(times)
	slices.Sort(s)
	n := len(s)
	if n%2 == 1 {
		return s[n/2].Seconds()
	}
	return (s[n/2-1] + s[n/2]).Seconds() / 2
}

// row is one workload with all its outcomes.
type row struct {
	workload workload
	seconds  map[string]float64 // medians by contender
	judged   string             // the contender the goal is for
}

func (b *bench) rows() []row {
	var rows []row
	for _, o := range b.outcomes {
		if len(o.times) == 0 {
			continue
		}
		if len(rows) == 0 || rows[len(rows)-1].workload.title() != o.workload.title() {
			rows = append(rows, row{o.workload, map[string]float64{}, o.contender})
		}
		rows[len(rows)-1].seconds[o.contender] = median(o.times)
	}
	return rows
}

// figure is what the goal bounds: a ratio, or seconds.
func (r row) figure() float64 {
	if r.workload.base == "" {
		return r.seconds[r.judged]
	}
	return r.seconds[r.judged] / r.seconds[r.workload.base]
}

// table is the report in Markdown.
func (b *bench) table() string {
	var s strings.Builder
	fmt.Fprintf(&s, "Medians of %d rounds, in seconds", b.rounds)
	if b.idle > 0 {
		fmt.Fprintf(&s, "; distant rows after %v unused", b.idle)
	}
	s.WriteString(".\n\n| workload | goal | reached | met | mirrorfs | the others |\n|---|---|---|---|---|---|\n")
	for _, r := range b.rows() {
		met := "yes"
		if r.figure() > r.workload.goal {
			met = "**no**"
		}
		var others []string
		for _, e := range r.workload.entries {
			if t, ok := r.seconds[e.name]; ok && e.name != r.judged {
				others = append(others, fmt.Sprintf("%s %.3f", e.name, t))
			}
		}
		fmt.Fprintf(&s, "| %s | %s | %.2f | %s | %.3f | %s |\n",
			r.workload.title(), r.workload.goalText(), r.figure(), met, r.seconds[r.judged], strings.Join(others, ", "))
	}
	if len(b.peaks) > 0 {
		s.WriteString("\nPeak memory over all cold rows: ")
		var parts []string
		for name, bytes := range b.peaks {
			parts = append(parts, fmt.Sprintf("%s %.0f MiB", name, float64(bytes)/mib))
		}
		slices.Sort(parts)
		s.WriteString(strings.Join(parts, ", ") + ".\n")
	}
	for _, l := range b.leftOut {
		fmt.Fprintf(&s, "\nLeft out: %s.\n", l)
	}
	return s.String()
}

// plot draws every contender's time relative to mirrorfs', on a logarithmic
// scale: to the right of 1 is slower than mirrorfs.
func (b *bench) plot() string {
	const (
		left, width, line = 430, 560, 16
		low, high         = 0.1, 100.0
	)
	x := func(ratio float64) float64 {
		r := min(max(ratio, low), high)
		return left + width*math.Log(r/low)/math.Log(high/low)
	}
	colours := map[string]string{"native": "#444", "curl": "#06c", "ftplib": "#c60", "aioftp": "#909", "rclone": "#c00"}
	var body strings.Builder
	y := 40
	for _, r := range b.rows() {
		fmt.Fprintf(&body, `<text x="8" y="%d">%s</text>`+"\n", y+4, html.EscapeString(strings.ReplaceAll(r.workload.title(), "`", "")))
		fmt.Fprintf(&body, `<line x1="%d" x2="%d" y1="%d" y2="%d" stroke="#eee"/>`+"\n", left, left+width, y, y)
		for _, e := range r.workload.entries {
			t, ok := r.seconds[e.name]
			if !ok || e.name == r.judged {
				continue
			}
			kind, _, _ := strings.Cut(strings.ReplaceAll(e.name, "-", ","), ",")
			ratio := t / r.seconds[r.judged]
			fmt.Fprintf(&body, `<circle cx="%.1f" cy="%d" r="4" fill="%s"><title>%s: %.2f × mirrorfs</title></circle>`+"\n",
				x(ratio), y, colours[kind], html.EscapeString(e.name), ratio)
		}
		y += line
	}
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`+"\n", left+width+30, y+30)
	s.WriteString(`<rect width="100%" height="100%" fill="white"/>` + "\n")
	for _, r := range []float64{0.1, 0.3, 1, 3, 10, 30, 100} {
		stroke := "#ddd"
		if r == 1 {
			stroke = "#080"
		}
		fmt.Fprintf(&s, `<line x1="%.1f" x2="%.1f" y1="28" y2="%d" stroke="%s"/><text x="%.1f" y="%d" text-anchor="middle">%g×</text>`+"\n",
			x(r), x(r), y, stroke, x(r), y+14, r)
	}
	s.WriteString(`<text x="8" y="16" font-weight="bold">Time relative to mirrorfs (green line); further right is slower</text>` + "\n")
	cx := left
	for _, k := range []string{"native", "curl", "ftplib", "aioftp", "rclone"} {
		fmt.Fprintf(&s, `<circle cx="%d" cy="12" r="4" fill="%s"/><text x="%d" y="16">%s</text>`+"\n", cx, colours[k], cx+8, k)
		cx += 70
	}
	s.WriteString(body.String() + "</svg>\n")
	return s.String()
}
