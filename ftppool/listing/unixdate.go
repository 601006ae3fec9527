package listing

import "time"

// readDate reads the date that begins at column i: the forms of ls in various
// countries. It returns the number of columns, 0 when there is no date.
func readDate(f *fields, i int) (clock, int) {
	a := f.at(i)
	if len(a) == 0 {
		return clock{}, 0
	}
	if a[0] < '0' || a[0] > '9' {
		// Jan 02 15:04 · Jan 02 2006 · Jan 02 15:04:05 2006
		month := parseMonth(a)
		day, ok := parseInt(trimDot(f.at(i+1)), 1, 2)
		if month == 0 || !ok {
			return clock{}, 0
		}
		return readTail(f, i+2, clock{month: month, day: day})
	}
	if month := parseMonth(trimDot(f.at(i + 1))); month != 0 {
		// 02 Jan 15:04 · 02 Jan 2006
		day, ok := parseInt(trimDot(a), 1, 2)
		if !ok {
			return clock{}, 0
		}
		return readTail(f, i+2, clock{month: month, day: day})
	}
	return readISO(f, i)
}

// readTail reads what follows day and month: a time or a year.
func readTail(f *fields, i int, c clock) (clock, int) {
	if year, ok := parseInt(f.at(i), 4, 4); ok && year > 1600 {
		c.year, c.precision = year, 86400
		return c, 3
	}
	if !c.setTime(f.at(i)) {
		return clock{}, 0
	}
	if c.precision == 1 && i+2 < f.n { // BSD's ls -T has a year after the seconds
		if year, ok := parseInt(f.at(i+1), 4, 4); ok && year > 1600 {
			c.year = year
			return c, 4
		}
	}
	return c, 3
}

// readISO reads the dates of ls --time-style: 2006-01-02 15:04,
// 2006-01-02 15:04:05.000000000 +0000, 01-02 15:04, 2006-01-02.
func readISO(f *fields, i int) (clock, int) {
	a := f.at(i)
	var c clock
	var ok bool
	switch {
	case len(a) == 10 && (a[4] == '-' || a[4] == '/') && a[7] == a[4]:
		c, ok = dateOf(a[:4], a[5:7], a[8:])
	case len(a) == 5 && a[2] == '-':
		c, ok = dateOf(nil, a[:2], a[3:])
	}
	if !ok {
		return clock{}, 0
	}
	if !c.setTime(f.at(i+1)) || f.start[i+1] != f.end[i]+1 {
		if year, ok := parseInt(f.at(i+1), 4, 4); ok && c.year == 0 && year > 1600 {
			c.year, c.precision = year, 86400
			return c, 2
		}
		if c.year == 0 {
			return clock{}, 0
		}
		c.hour, c.min, c.sec, c.precision = 0, 0, 0, 86400
		return c, 1
	}
	if z := f.at(i + 2); c.precision == 1 && len(z) == 5 && (z[0] == '+' || z[0] == '-') && i+3 < f.n {
		hours, ok1 := parseInt(z[1:3], 2, 2)
		minutes, ok2 := parseInt(z[3:], 2, 2)
		if ok1 && ok2 {
			c.zoned, c.offset = true, hours*3600+minutes*60
			if z[0] == '-' {
				c.offset = -c.offset
			}
			return c, 3
		}
	}
	return c, 2
}

func dateOf(year, month, day []byte) (clock, bool) {
	m, ok1 := parseInt(month, 1, 2)
	d, ok2 := parseInt(day, 1, 2)
	c := clock{month: time.Month(m), day: d}
	if year != nil {
		var ok bool
		if c.year, ok = parseInt(year, 4, 4); !ok || c.year < 1600 {
			return clock{}, false
		}
	}
	return c, ok1 && ok2
}

// setTime reads 15:04, 15:04:05 or 15:04:05.000.
func (c *clock) setTime(b []byte) bool {
	colon := 1
	if len(b) > 2 && b[2] == ':' {
		colon = 2
	}
	if len(b) < colon+3 || b[colon] != ':' {
		return false
	}
	hour, ok1 := parseInt(b[:colon], 1, 2)
	minute, ok2 := parseInt(b[colon+1:colon+3], 2, 2)
	if !ok1 || !ok2 || hour > 23 || minute > 59 {
		return false
	}
	c.hour, c.min, c.precision = hour, minute, 60
	rest := b[colon+3:]
	if len(rest) == 0 {
		return true
	}
	if len(rest) < 3 || rest[0] != ':' {
		return false
	}
	sec, ok := parseInt(rest[1:3], 2, 2)
	if !ok || sec > 60 || (len(rest) > 3 && rest[3] != '.') {
		return false
	}
	c.sec, c.precision = sec, 1
	return true
}

// months holds the abbreviations of ls in the languages of western Europe.
var months = map[string]time.Month{
	"jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6,
	"jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12,
	"june": 6, "july": 7, "sept": 9,
	// Portuguese and Spanish
	"fev": 2, "abr": 4, "mai": 5, "ago": 8, "set": 9, "out": 10, "dez": 12, "ene": 1, "dic": 12,
	// German, French and Italian
	"mrz": 3, "juni": 6, "juli": 7, "okt": 10, "janv": 1, "mars": 3, "avr": 4, "juin": 6, "juil": 7,
	"gen": 1, "mag": 5, "giu": 6, "lug": 7, "ott": 10,
}

// parseMonth returns the month with that name, 0 when there is none.
func parseMonth(b []byte) time.Month {
	if len(b) < 3 || len(b) > 5 {
		return 0
	}
	var buf [5]byte
	n := copy(buf[:], trimDot(b))
	return months[string(toLower(buf[:n]))]
}

func trimDot(b []byte) []byte {
	if n := len(b); n > 1 && (b[n-1] == '.' || b[n-1] == ',') {
		return b[:n-1]
	}
	return b
}
