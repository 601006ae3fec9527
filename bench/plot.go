package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Measures of the plot, in pixels, and the ends of its scale.
const (
	plotLeft, plotWidth = 380, 560
	plotLine            = 22
	plotLow, plotHigh   = 0.02, 200.0
)

// plotX is where a ratio is drawn, on a logarithmic scale.
func plotX(ratio float64) float64 {
	r := min(max(ratio, plotLow), plotHigh)
	return plotLeft + plotWidth*math.Log(r/plotLow)/math.Log(plotHigh/plotLow)
}

// series are the contenders as they are drawn, in the order of the legend. A
// contender belongs to the first one that its name begins with.
var series = []struct {
	prefix, label, colour string
	hollow                bool
}{
	{"mirrorfs", "mirrorfs", "#0072b2", false},
	{"native", "local disk", "#555555", false},
	{"curl, to a file", "curl, to a file", "#e69f00", true},
	{"curl", "curl", "#e69f00", false},
	{"ftplib-threads", "ftplib, threads", "#009e73", true},
	{"ftplib", "ftplib", "#009e73", false},
	{"aioftp", "aioftp", "#cc79a7", false},
	{"rclone, best flags", "rclone, best flags", "#d55e00", true},
	{"rclone", "rclone", "#d55e00", false},
}

// plot draws every goal as a line: the contenders' times relative to the one
// that the goal is relative to, and a band up to the goal.
func (r results) plot() string {
	var body strings.Builder
	y, section := 78, ""
	for _, row := range r.Rows {
		if row.Unit != "s" {
			continue
		}
		title, where := place(row.Title)
		if where != section {
			section = where
			y += 8
			fmt.Fprintf(&body, `<text x="12" y="%d" class="h">%s</text>`+"\n", y+4, html.EscapeString(where))
			y += plotLine
		}
		for i, g := range row.Goals {
			if _, ok := row.reached(g); !ok {
				continue
			}
			label := title
			if i > 0 {
				label = "the same"
			}
			if len(row.Goals) > 1 {
				label += strings.TrimPrefix(g.Contender, "mirrorfs")
			}
			fmt.Fprintf(&body, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", plotLeft-12, y+4, html.EscapeString(label))
			row.line(&body, g, i == 0, y)
			y += plotLine
		}
	}
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d">`+"\n", plotLeft+plotWidth+30, y+30)
	s.WriteString(`<style>text{font:11px sans-serif;fill:#222}.h{font-weight:bold;font-size:12px}.s{fill:#666}</style>` + "\n")
	s.WriteString(`<rect width="100%" height="100%" fill="white"/>` + "\n")
	s.WriteString(`<text x="12" y="20" style="font:bold 14px sans-serif">Time relative to each row's yardstick (at 1×): the local disk, curl, ftplib, or the seconds of its goal</text>` + "\n")
	s.WriteString(`<text x="12" y="38" class="s">Logarithmic; left is faster. The green band is the goal for mirrorfs, its line the fastest and slowest round.</text>` + "\n")
	legend(&s)
	for _, ratio := range []float64{0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200} {
		stroke := "#e4e4e4"
		if ratio == 1 {
			stroke = "#888888"
		}
		fmt.Fprintf(&s, `<line x1="%.1[1]f" x2="%.1[1]f" y1="72" y2="%[2]d" stroke="%[3]s"/><text x="%.1[1]f" y="%[4]d" text-anchor="middle" class="s">%[5]g×</text>`+"\n",
			plotX(ratio), y, stroke, y+16, ratio)
	}
	s.WriteString(body.String() + "</svg>\n")
	return s.String()
}

// line draws one goal: the one it is for, and all others where they are wanted.
func (r row) line(s *strings.Builder, g goal, all bool, y int) {
	yardstick := g.Bound // in seconds
	band := 1.0
	if base, ok := r.of(g.Base); ok {
		yardstick, band = median(base.Values), g.Bound
	}
	fmt.Fprintf(s, `<rect x="%d" y="%d" width="%.1f" height="12" fill="#d5efd5"/><line x1="%.1[4]f" x2="%.1[4]f" y1="%[2]d" y2="%[5]d" stroke="#2a8a2a" stroke-width="2"/>`+"\n",
		plotLeft, y-6, plotX(band)-plotLeft, plotX(band), y+6)
	for _, f := range r.Figures {
		if f.Name == g.Contender || !all || strings.HasPrefix(f.Name, "mirrorfs") {
			continue
		}
		dot(s, f, yardstick, y, 4)
	}
	f, _ := r.of(g.Contender)
	least, most := f.Values[0], f.Values[0]
	for _, v := range f.Values {
		least, most = min(least, v), max(most, v)
	}
	fmt.Fprintf(s, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%[3]d" stroke="#0072b2" stroke-width="2"/>`+"\n",
		plotX(least/yardstick), plotX(most/yardstick), y)
	dot(s, f, yardstick, y, 5)
}

func dot(s *strings.Builder, f figures, yardstick float64, y, radius int) {
	for _, k := range series {
		if !strings.HasPrefix(f.Name, k.prefix) {
			continue
		}
		fill := k.colour
		if k.hollow {
			fill = "white"
		}
		m := median(f.Values)
		fmt.Fprintf(s, `<circle cx="%.1f" cy="%d" r="%d" fill="%s" stroke="%s" stroke-width="1.5"><title>%s: %s, %.2f×</title></circle>`+"\n",
			plotX(m/yardstick), y, radius, fill, k.colour, html.EscapeString(f.Name), show(m, "s"), m/yardstick)
		return
	}
}

func legend(s *strings.Builder) {
	x := 12
	for _, k := range series {
		fill := k.colour
		if k.hollow {
			fill = "white"
		}
		fmt.Fprintf(s, `<circle cx="%d" cy="56" r="4" fill="%s" stroke="%s" stroke-width="1.5"/><text x="%d" y="60">%s</text>`+"\n",
			x+4, fill, k.colour, x+13, k.label)
		x += 30 + 6*len(k.label)
	}
}

// place splits a title into what is done and where.
func place(title string) (what, where string) {
	title = strings.ReplaceAll(title, "`", "")
	what, unused, rested := strings.Cut(title, ", after ")
	switch {
	case strings.HasSuffix(what, ", "+string(distant)):
		what, where = strings.TrimSuffix(what, ", "+string(distant)), "100 ms away"
	case strings.HasSuffix(what, ", "+string(capped)):
		return strings.TrimSuffix(what, ", "+string(capped)), "Loopback, " + string(capped)
	default:
		return title, "Loopback"
	}
	if rested {
		where += ", after " + unused
	}
	return what, where
}
