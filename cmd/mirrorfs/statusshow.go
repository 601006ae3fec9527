package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/control"
)

// statusRow is one thing that a status says, under a label. A tail stays at the
// end of its line when the text before it must be shortened.
type statusRow struct {
	label, text, tail string
}

const (
	labelColumns = 12 // of the labels, with the space behind
	rowIndent    = 2
)

// statusRows is what is told of one mount. now is when it was asked.
func statusRows(a answer, now time.Time) []statusRow {
	var rows []statusRow
	row := func(label, format string, args ...any) {
		rows = append(rows, statusRow{label: label, text: fmt.Sprintf(format, args...)})
	}
	if a.Error != "" {
		row("status", "not known: %s", a.Error)
		return rows
	}
	row("since", "%s (process %d, mirrorfs %s)", a.Since.Local().Format(time.DateTime), a.PID, a.Program)
	switch {
	case a.Passthrough:
		row("reads", "whole files by the kernel itself (passthrough)")
	case a.PassthroughWhy != "":
		row("reads", "through the kernel's cache (no passthrough: %s)", a.PassthroughWhy)
	default:
		row("reads", "through the kernel's cache")
	}
	row("sessions", "%s", sessionText(a.Status, now))
	c := a.Cache
	room := ""
	if c.Max > 0 {
		room = " of " + showBytes(c.Max)
	}
	row("cache", "%s%s, %d files, in %s", showBytes(c.Used), room, c.Files, c.Folder)
	if c.Hits+c.Misses > 0 {
		row("", "%d %% of reads served from it, %s fetched", 100*c.Hits/(c.Hits+c.Misses), showBytes(c.Fetched))
	}
	if c.Refusal != "" {
		row("", "keeps nothing for now, what is read is passed on: %s", c.Refusal)
	}
	l := a.Listings
	row("listings", "%d in memory (%s), %d on disk; %d answered from these, %d asked for", l.Memory, showBytes(l.MemoryBytes), l.Disk, l.Hits, l.Sent)
	if l.Unparsed > 0 {
		row("", "%d lines could not be read", l.Unparsed)
	}
	if v := a.Server; v.System != "" || v.Listing != "" {
		row("server", "%s", profileText(v))
	}
	if n := len(a.Transfers); n > 0 {
		rate := 0.0
		for _, t := range a.Transfers {
			rate += t.Rate
		}
		row("transfers", "%d under way, %s/s", n, showBytes(int64(rate)))
	}
	for _, t := range a.Transfers {
		rows = append(rows, statusRow{"", transferName(t), transferText(t)})
	}
	for i, e := range a.Errors {
		label := "errors"
		if i > 0 {
			label = ""
		}
		row(label, "%s %s", e.When.Local().Format(time.DateTime), oneLine(errors.New(e.Text)))
	}
	return rows
}

func sessionText(s control.Status, now time.Time) string {
	if s.Offline {
		return "none: offline"
	}
	n := s.Sessions
	text := fmt.Sprintf("%d busy, %d idle, %d at most", n.Busy, n.Idle, n.Bound)
	if n.Cap < n.Bound {
		text += fmt.Sprintf("; the server takes %d", n.Cap)
	}
	if n.Waiting > 0 {
		text += fmt.Sprintf("; %d requests wait", n.Waiting)
	}
	if n.BackOffUntil.After(now) {
		text += "; the server is asked again at " + n.BackOffUntil.Local().Format(time.TimeOnly)
	}
	return text
}

func profileText(v control.Profile) string {
	var facts []string
	if v.System != "" {
		facts = append(facts, v.System)
	}
	if v.Listing != "" {
		facts = append(facts, v.Listing+" listings")
	}
	facts = append(facts, "REST "+v.Restart)
	if v.UTF8 {
		facts = append(facts, "names in UTF-8")
	}
	if v.IgnoreCase {
		facts = append(facts, "names in any case")
	}
	if v.Zone != "" {
		facts = append(facts, "times in "+v.Zone)
	}
	if v.TLS != "" {
		facts = append(facts, v.TLS)
	}
	return strings.Join(facts, ", ")
}

func transferName(t control.Stream) string {
	if t.Listing {
		return "listing of /" + t.Path
	}
	return t.Path
}

// transferText tells how far a transfer is: of the file, where its size is known.
func transferText(t control.Stream) string {
	text := fmt.Sprintf("%7s", showBytes(t.Bytes))
	if t.Size > 0 {
		at := min(t.Offset+t.Bytes, t.Size)
		text = fmt.Sprintf("%7s of %7s %3d %%", showBytes(at), showBytes(t.Size), 100*at/t.Size)
	}
	return fmt.Sprintf("%s %8s", text, showBytes(int64(t.Rate))+"/s")
}

// statusLines are the lines about one mount, none of more columns than width; 0
// means that lines are as long as they are.
func statusLines(a answer, now time.Time, width int) []string {
	lines := wrap(printable(a.URL+" on "+a.MountPoint), width, 2*rowIndent)
	for _, r := range statusRows(a, now) {
		text := printable(r.text)
		if r.tail != "" {
			room := width - rowIndent - labelColumns - len(r.tail) - 1
			if width > 0 && room >= 8 {
				text = pad(shorten(text, room), room)
			}
			text += " " + r.tail
		}
		line := fmt.Sprintf("%*s%-*s%s", rowIndent, "", labelColumns, r.label, text)
		if r.tail != "" && width > 0 {
			lines = append(lines, cut(line, width))
			continue
		}
		lines = append(lines, wrap(line, width, rowIndent+labelColumns)...)
	}
	return lines
}

// printStatus tells people about mounts.
func printStatus(w io.Writer, answers []answer, now time.Time, width int) error {
	var b strings.Builder
	if len(answers) == 0 {
		b.WriteString("no mirror is mounted\n")
	}
	for i, a := range answers {
		if i > 0 {
			b.WriteByte('\n')
		}
		for _, line := range statusLines(a, now, width) {
			b.WriteString(line + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// showStatus prints the answers once: that of the one mount that was named, or
// of all.
func showStatus(w io.Writer, answers []answer, one, asJSON bool) error {
	var err error
	switch lines := json.NewEncoder(w); {
	case !asJSON:
		err = printStatus(w, answers, time.Now(), columnsOf(w))
	case one:
		lines.SetIndent("", "  ")
		err = lines.Encode(answers[0])
	default:
		lines.SetIndent("", "  ")
		err = lines.Encode(answers)
	}
	if err != nil {
		return failf(exitFailure, "%w", err)
	}
	if one && answers[0].Error != "" {
		return failf(exitFailure, "%s does not tell its status: %s", answers[0].MountPoint, answers[0].Error)
	}
	return nil
}
