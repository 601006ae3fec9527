package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

func isRclone(contender string) bool { return strings.HasPrefix(contender, "rclone") }

// markdown is the report: the goals first, then every contender.
func (r results) markdown() string {
	var s strings.Builder
	fmt.Fprintf(&s, "Measured on %s, with %s.\n\n", r.Machine, strings.Join(r.Versions, ", "))
	s.WriteString("| workload | goal | reached | met |\n|---|---|---|---|\n")
	for _, row := range r.Rows {
		for _, g := range row.Goals {
			reached, ok := row.reached(g)
			if !ok {
				continue
			}
			met := "yes"
			if reached > g.Bound {
				met = "**no**"
			}
			fmt.Fprintf(&s, "| %s: %s | %s | %s | %s |\n", row.Title, g.Contender, g.text(row.Unit), g.show(reached, row.Unit), met)
		}
	}
	s.WriteString("\n| workload | contender | median | least – most | × the first | commands |\n|---|---|--:|--:|--:|--:|\n")
	for _, row := range r.Rows {
		title := row.Title
		for _, f := range row.Figures {
			fmt.Fprintf(&s, "| %s | %s | %s | %s | %s | %s |\n", title, f.Name,
				show(median(f.Values), row.Unit), f.spread(row.Unit), times(median(f.Values), median(row.Figures[0].Values)), f.commands())
			title = ""
		}
	}
	for _, l := range r.LeftOut {
		fmt.Fprintf(&s, "\nLeft out: %s.\n", l)
	}
	return s.String()
}

// text is the goal in words.
func (g goal) text(unit string) string {
	bound := strconv.FormatFloat(g.Bound, 'g', -1, 64)
	if g.Base == "" {
		return "≤ " + bound + " " + unit
	}
	return "≤ " + bound + " × " + g.Base
}

func (g goal) show(reached float64, unit string) string {
	if g.Base != "" {
		return fmt.Sprintf("%.3g", reached)
	}
	return show(reached, unit)
}

// show prints a figure with three digits or so.
func show(v float64, unit string) string {
	switch {
	case unit != "s":
		return fmt.Sprintf("%.0f %s", v, unit)
	case v < 0.0995:
		return fmt.Sprintf("%.3g ms", 1000*v)
	case v < 9.95:
		return fmt.Sprintf("%.2f s", v)
	case v < 99.5:
		return fmt.Sprintf("%.1f s", v)
	}
	return fmt.Sprintf("%.0f s", v)
}

// spread is the range of the values.
func (f figures) spread(unit string) string {
	if len(f.Values) == 1 {
		return "once"
	}
	return show(slices.Min(f.Values), unit) + " – " + show(slices.Max(f.Values), unit)
}

func (f figures) commands() string {
	if len(f.Commands) == 0 {
		return ""
	}
	return strconv.FormatFloat(median(f.Commands), 'f', 0, 64)
}

// times is how often v is what the first has.
func times(v, first float64) string {
	switch ratio := v / first; {
	case ratio < 9.95:
		return fmt.Sprintf("%.2f", ratio)
	case ratio < 99.5:
		return fmt.Sprintf("%.1f", ratio)
	default:
		return fmt.Sprintf("%.0f", ratio)
	}
}
