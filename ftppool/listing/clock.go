package listing

import "time"

// clock is a date and time as a LIST line writes it: on the server's clock,
// often without a year, seconds or the time of day.
type clock struct {
	year           int // 0: the latest that is not in the future
	month          time.Month
	day            int
	hour, min      int
	sec, precision int // precision in seconds: 1, 60, or 86400 for a mere date
	offset         int // seconds east of UTC, when the line tells it
	zoned          bool
	swappable      bool // day and month may have to change places
}

// ahead is how far a date without a year may lie in the future: the server is
// in another zone (14 hours at most), or its clock is fast.
const ahead = 48 * time.Hour

// interval returns the span of UTC in which the clock showed that; false for a
// date that does not exist.
func (p *Parser) interval(c clock) (Interval, bool) {
	if c.hour > 23 || c.min > 59 || c.sec > 60 || c.month < 1 || c.month > 12 || c.day < 1 {
		return Interval{}, false
	}
	if c.year == 0 {
		c.year = p.year(c)
	}
	wall := time.Date(c.year, c.month, c.day, c.hour, c.min, c.sec, 0, time.UTC)
	if wall.Day() != c.day && c.sec < 60 { // February 30
		return Interval{}, false
	}
	w := wall.Unix()
	if c.zoned {
		w -= int64(c.offset)
		return Interval{w, w + int64(c.precision) - 1}, true
	}
	lo, hi := p.utc(w)
	if c.precision < 86400 {
		return Interval{lo, hi + int64(c.precision) - 1}, true
	}
	_, hi = p.utc(w + 86400)
	if p.Location == nil {
		// Zones reach from UTC-12 to UTC+14, so this holds for any of them, and
		// still does when it is shifted by the zone's own offset.
		lo -= 14 * 3600
		hi += 12 * 3600
	}
	return Interval{lo, hi - 1}, true
}

// year returns the latest year in which the date exists and is not in the
// future.
func (p *Parser) year(c clock) int {
	limit := p.Now.UTC().Add(ahead)
	y := limit.Year()
	for back := 0; back <= 8; back++ { // leap years can be 8 years apart
		t := time.Date(y-back, c.month, c.day, c.hour, c.min, c.sec, 0, time.UTC)
		if !t.After(limit) && t.Day() == c.day {
			return y - back
		}
	}
	return y
}

// utc returns the first and the last moment at which clocks in the server's
// zone showed the wall clock time w (given as if it were UTC). They differ when
// clocks were set back; a time that was skipped lies between them as well.
func (p *Parser) utc(w int64) (int64, int64) {
	if p.Location == nil || p.Location == time.UTC {
		return w, w
	}
	offset := func(t int64) int64 {
		_, o := time.Unix(t, 0).In(p.Location).Zone()
		return int64(o)
	}
	before, after := offset(w-86400), offset(w+86400)
	if before == after {
		return w - before, w - before
	}
	a, b := w-before, w-after
	switch aHolds, bHolds := offset(a) == before, offset(b) == after; {
	case aHolds && !bHolds:
		return a, a
	case bHolds && !aHolds:
		return b, b
	}
	return min(a, b), max(a, b)
}
