package main

import (
	"fmt"
	"math"
	"strings"
)

// allowed is what the mount's process may take at a point.
func (p point) allowed(bound int64) int64 { return bound + nodeCost*p.nodes + scaleBase }

// each is how long a directory took between two points, in milliseconds.
func each(from, to point) float64 {
	return (to.elapsed - from.elapsed).Seconds() * 1000 / float64(max(to.dirs-from.dirs, 1))
}

// scaleTable is the walk in a table of about ten lines.
func scaleTable(points []point, forgotten point, bound int64, disk float64) string {
	var s strings.Builder
	s.WriteString("| directories | entries | time | a directory | nodes the kernel knows | memory | may be |\n|--:|--:|--:|--:|--:|--:|--:|\n")
	last := point{}
	step := max(len(points)/10, 1)
	for i, p := range points {
		if i%step != step-1 && i != len(points)-1 || p.dirs == last.dirs {
			continue
		}
		fmt.Fprintf(&s, "| %d | %d | %.1f s | %.2f ms | %d | %d MiB | %d MiB |\n",
			p.dirs, p.entries, p.elapsed.Seconds(), each(last, p), p.nodes, p.resident>>20, p.allowed(bound)>>20)
		last = p
	}
	met, worst := "yes", points[0]
	for _, p := range points {
		if p.resident-p.allowed(bound) > worst.resident-worst.allowed(bound) {
			worst = p
		}
	}
	if worst.resident > worst.allowed(bound) {
		met = "**no**"
	}
	fmt.Fprintf(&s, "\nMemory within --metadata-memory + 1 KiB a node + 64 MiB: %s (nearest: %d of %d MiB at %d entries).\n",
		met, worst.resident>>20, worst.allowed(bound)>>20, worst.entries)
	quarter := len(points) / 4
	first, end := each(points[0], points[quarter]), each(points[len(points)-1-quarter], points[len(points)-1])
	fmt.Fprintf(&s, "A directory took %.2f ms in the first quarter and %.2f ms in the last.\n", first, end)
	if forgotten.resident > 0 {
		fmt.Fprintf(&s, "Ten seconds after the kernel was told to drop what it knows: %d nodes, %d MiB.\n", forgotten.nodes, forgotten.resident>>20)
	}
	fmt.Fprintf(&s, "The listings take %.0f MiB on disk, %.0f bytes an entry.\n", disk/mib, disk/float64(points[len(points)-1].entries))
	return s.String()
}

// ceiling is the next figure above v that reads well when it is cut in four.
func ceiling(v float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, n := range []float64{1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8} {
		if v <= n*unit {
			return n * unit
		}
	}
	return 10 * unit
}

// scalePlot draws memory and time per directory over the entries seen.
func scalePlot(points []point, bound int64) string {
	const left, width, height, gap = 70, 620, 170, 70
	entries := float64(points[len(points)-1].entries)
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d">`+"\n", left+width+40, 2*(height+gap)+20)
	s.WriteString(`<style>text{font:11px sans-serif;fill:#222}.h{font-weight:bold;font-size:13px}</style>` + "\n" + `<rect width="100%" height="100%" fill="white"/>` + "\n")
	type curve struct {
		colour, label string
		of            func(i int) float64
	}
	panel := func(top int, title, unit string, curves ...curve) {
		most := 0.0
		for _, c := range curves {
			for i := range points {
				most = max(most, c.of(i))
			}
		}
		most = ceiling(most)
		fmt.Fprintf(&s, `<text x="%d" y="%d" class="h">%s</text>`+"\n", left, top-14, title)
		for i := range 5 {
			y := float64(top+height) - float64(i)*height/4
			fmt.Fprintf(&s, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%.4g %s</text>`+"\n",
				left, left+width, y, y, left-6, y+4, most*float64(i)/4, unit)
			x := left + float64(i)*width/4
			fmt.Fprintf(&s, `<text x="%.1f" y="%d" text-anchor="middle">%.3g M entries</text>`+"\n", x, top+height+16, entries*float64(i)/4/1e6)
		}
		for n, c := range curves {
			var path []string
			for i, p := range points {
				path = append(path, fmt.Sprintf("%.1f,%.1f", left+width*float64(p.entries)/entries, float64(top)+height*(1-c.of(i)/most)))
			}
			fmt.Fprintf(&s, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/><text x="%d" y="%d" style="fill:%s">%s</text>`+"\n",
				strings.Join(path, " "), c.colour, left+width-120-150*n, top-14, c.colour, c.label)
		}
	}
	panel(40, "Memory of the mount", "MiB",
		curve{"#0072b2", "resident", func(i int) float64 { return float64(points[i].resident) / mib }},
		curve{"#d55e00", "allowed", func(i int) float64 { return float64(points[i].allowed(bound)) / mib }})
	panel(40+height+gap, "Time per directory of 100 files", "ms",
		curve{"#0072b2", "mean of ten", func(i int) float64 {
			from := point{}
			if i >= 10 {
				from = points[i-10]
			}
			return each(from, points[i])
		}})
	s.WriteString("</svg>\n")
	return s.String()
}
