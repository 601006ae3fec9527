package listing

import (
	"strings"
	"time"
)

// In seconds.
const (
	minute   = 60
	quarter  = 15 * minute  // all zones differ by multiples of it
	maxShift = 26 * 60 * 60 // between the outermost zones
)

// ZoneShift compares what LIST showed for a file, read as UTC, with the exact
// time of the same file, and returns what must be added to the times of LIST
// (Interval.Shift) to make them UTC: minus the server's offset, a multiple of
// 15 minutes. It returns false when the two can't be of one content on a clock
// in any zone, or when LIST told only the day.
func ZoneShift(list Interval, exact time.Time) (time.Duration, bool) {
	if !toTheMinute(list) {
		return 0, false
	}
	t := exact.Unix()
	s := nearestQuarter(t - list.Min)
	// A minute more on both sides: some servers round.
	if s > maxShift || s < -maxShift || t-s < list.Min-minute || t-s > list.Max+minute {
		return 0, false
	}
	return time.Duration(s) * time.Second, true
}

// UniformShift reports whether the server's clock, not its files, changed
// between two listings of one directory (daylight saving; a zone that was set
// right), and by how much: the later times are the earlier ones plus the shift.
// Both slices are sorted by Name, as in a Listing.
//
// It says so only when files that were rewritten can't look the same:
//   - three quarters of the files in either listing kept their name and size;
//   - of these, all whose time is known to the minute in both moved by the same
//     multiple of 15 minutes, at most 26 hours; there are three or more of
//     them, and no date without a time contradicts it;
//   - at least half of them are, in the later listing, older than the newest
//     file was in the earlier one: files rewritten in between would not be;
//   - less than a quarter of them have the time and size that another one had:
//     files renamed in rotation look like that.
func UniformShift(earlier, later []Entry) (time.Duration, bool) {
	pairs := sameFiles(earlier, later)
	if 4*len(pairs) < 3*max(countFiles(earlier), countFiles(later)) {
		return 0, false
	}
	var shift int64
	var moved []pair
	for _, p := range pairs {
		if !toTheMinute(p.a.MTime) || !toTheMinute(p.b.MTime) {
			continue
		}
		if len(moved) == 0 {
			shift = nearestQuarter(p.b.MTime.Min - p.a.MTime.Min)
		}
		if shift == 0 || !p.moved(shift) {
			return 0, false
		}
		moved = append(moved, p)
	}
	if len(moved) < 3 || shift > maxShift || shift < -maxShift {
		return 0, false
	}
	for _, p := range pairs {
		if !p.a.MTime.Meets(p.b.MTime) && !p.moved(shift) {
			return 0, false
		}
	}
	if 2*countOlder(moved) < len(moved) || 4*countRotated(moved) >= len(moved) {
		return 0, false
	}
	return time.Duration(shift) * time.Second, true
}

// pair is one file in the earlier and the later listing.
type pair struct{ a, b *Entry }

// moved reports whether the later time is the earlier one plus shift seconds.
func (p pair) moved(shift int64) bool {
	return p.a.MTime.Meets(p.b.MTime.Shift(time.Duration(-shift) * time.Second))
}

// sameFiles returns the files that have the same name and size in both.
func sameFiles(earlier, later []Entry) []pair {
	var pairs []pair
	for i, j := 0, 0; i < len(earlier) && j < len(later); {
		a, b := &earlier[i], &later[j]
		c := strings.Compare(a.Name, b.Name)
		if c <= 0 {
			i++
		}
		if c >= 0 {
			j++
		}
		if c == 0 && a.Raw == b.Raw && a.Type == File && b.Type == File && a.Size == b.Size && a.Size != SizeUnknown {
			pairs = append(pairs, pair{a, b})
		}
	}
	return pairs
}

// countOlder counts the files whose later time is before the newest earlier one.
func countOlder(moved []pair) int {
	newest := moved[0].a.MTime.Min
	for _, p := range moved {
		newest = max(newest, p.a.MTime.Min)
	}
	n := 0
	for _, p := range moved {
		if p.b.MTime.Max < newest {
			n++
		}
	}
	return n
}

// countRotated counts the files that have the size and, to the minute, the
// time that another file had.
func countRotated(moved []pair) int {
	type moment struct{ size, minute int64 }
	of := func(e *Entry) moment { return moment{e.Size, (e.MTime.Min - mod(e.MTime.Min, minute)) / minute} }
	had := make(map[moment]bool, len(moved))
	for _, p := range moved {
		had[of(p.a)] = true
	}
	n := 0
	for _, p := range moved {
		if had[of(p.b)] {
			n++
		}
	}
	return n
}

func countFiles(entries []Entry) int {
	n := 0
	for i := range entries {
		if entries[i].Type == File {
			n++
		}
	}
	return n
}

// toTheMinute reports whether a time is known that well.
func toTheMinute(i Interval) bool {
	return i.Known() && i.Min <= i.Max && i.Max-i.Min < minute
}

func nearestQuarter(s int64) int64 {
	s += quarter / 2
	return s - mod(s, quarter)
}

// mod is the remainder that is never negative.
func mod(a, b int64) int64 { return (a%b + b) % b }
