package listing

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestZoneShift(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.DateTime, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	tests := []struct {
		list  Interval
		exact string
		want  time.Duration
		ok    bool
	}{
		{utc("2026-11-20 10:11:00", 60), "2026-11-20 10:11:12", 0, true},
		{utc("2026-11-20 07:11:00", 60), "2026-11-20 10:11:12", 3 * time.Hour, true}, // Brasília
		{utc("2026-11-20 15:41:00", 60), "2026-11-20 10:11:59", -5*time.Hour - 30*time.Minute, true},
		{utc("2026-11-20 15:56:00", 60), "2026-11-20 10:11:00", -5*time.Hour - 45*time.Minute, true},
		{utc("2026-11-20 10:12:00", 60), "2026-11-20 10:11:31", 0, true}, // rounded up
		{utc("2026-11-21 12:11:00", 60), "2026-11-20 10:11:12", -26 * time.Hour, true},
		{utc("2026-11-20 07:11:12", 1), "2026-11-20 10:11:12", 3 * time.Hour, true},
		{utc("2026-11-20 07:14:00", 60), "2026-11-20 10:11:12", 0, false}, // not in the same minute
		{utc("2026-11-20 07:08:00", 60), "2026-11-20 10:11:12", 0, false},
		{utc("2026-11-21 12:26:00", 60), "2026-11-20 10:11:12", 0, false},
		{utc("2020-11-20 10:11:00", 60), "2026-11-20 10:11:12", 0, false},
		{utc("2026-11-20 00:00:00", 86400), "2026-11-20 10:11:12", 0, false},
		{utc("2026-11-20 10:11:00", 3660), "2026-11-20 10:11:12", 0, false},
		{Anytime(), "2026-11-20 10:11:12", 0, false},
	}
	for _, tt := range tests {
		got, ok := ZoneShift(tt.list, at(tt.exact))
		if got != tt.want || ok != tt.ok {
			t.Errorf("%v, %s: %v, %v; want %v, %v", tt.list, tt.exact, got, ok, tt.want, tt.ok)
		}
	}
}

// What a clock in any zone shows is brought back to the truth.
func TestZoneShiftProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		truth := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "truth"), 0)
		offset := rapid.IntRange(-48, 56).Draw(t, "quarters") * 900
		wall := truth.In(time.FixedZone("", offset)).Format("2006-01-02 15:04")
		l, _, err := (Parser{Now: now}).Parse(strings.NewReader("-rw-r--r-- 1 0 0 1 " + wall + " x"))
		if err != nil || len(l.Entries) != 1 {
			t.Fatal(err, l)
		}
		shown := l.Entries[0].MTime
		shift, ok := ZoneShift(shown, truth)
		if !ok || shift != time.Duration(-offset)*time.Second || !shown.Shift(shift).Meets(Exactly(truth)) {
			t.Fatalf("%s at %+d: shift %v, %v", wall, offset, shift, ok)
		}
	})
}

// A directory of files of various sizes and ages.
func files(n int) []Entry {
	var es []Entry
	for i := range n {
		t := utc("2026-03-01 00:00:00", 60).Min + int64(i*i%97)*86400*2 + int64(i%1440)*60
		es = append(es, Entry{Name: fmt.Sprintf("f%05d", i), Raw: fmt.Sprintf("f%05d", i), Size: int64(1000 + i%17), MTime: Interval{t, t + 59}, Type: File})
	}
	return es
}

func edit(es []Entry, f func(i int, e *Entry)) []Entry {
	es = slices.Clone(es)
	for i := range es {
		f(i, &es[i])
	}
	return es
}

func TestUniformShift(t *testing.T) {
	const hour = time.Hour
	shifted := func(d time.Duration) func(int, *Entry) {
		return func(_ int, e *Entry) { e.MTime = e.MTime.Shift(d) }
	}
	base := files(100)
	one := base[0].MTime.Min
	regular := func(n int, step time.Duration) []Entry { // one file each step, all of one size
		return edit(files(n), func(i int, e *Entry) {
			t := one + int64(i)*int64(step/time.Second)
			e.Size, e.MTime = 4096, Interval{t, t + 59}
		})
	}
	tests := []struct {
		what           string
		earlier, later []Entry
		want           time.Duration
		ok             bool
	}{
		{"daylight saving", base, edit(base, shifted(hour)), hour, true},
		{"and back", base, edit(base, shifted(-hour)), -hour, true},
		{"zone set right", base, edit(base, shifted(-3*hour)), -3 * hour, true},
		{"half a zone", base, edit(base, shifted(5*hour+30*time.Minute)), 5*hour + 30*time.Minute, true},
		{"nothing changed", base, base, 0, false},
		{"no zone is that far", base, edit(base, shifted(27*hour)), 0, false},
		{"no zone is that near", base, edit(base, shifted(7*time.Minute)), 0, false},
		{"exact times known earlier", edit(base, func(_ int, e *Entry) { e.MTime = Interval{e.MTime.Min + 42, e.MTime.Min + 42} }), edit(base, shifted(hour)), hour, true},
		{"one file new, one gone, one larger", base[1:], edit(base[:99], func(i int, e *Entry) {
			e.MTime = e.MTime.Shift(hour)
			if i == 50 {
				e.Size++
				e.MTime = e.MTime.Shift(100 * hour)
			}
		}), hour, true},
		{"one file did not move", base, edit(base, func(i int, e *Entry) {
			if i != 50 {
				e.MTime = e.MTime.Shift(hour)
			}
		}), 0, false},
		{"one file moved further", base, edit(base, func(i int, e *Entry) {
			e.MTime = e.MTime.Shift(hour)
			if i == 50 {
				e.MTime = e.MTime.Shift(hour)
			}
		}), 0, false},
		{"one file written in the minute that fits", base, edit(base, func(i int, e *Entry) {
			if i == 50 {
				e.MTime = e.MTime.Shift(hour)
			}
		}), 0, false},
		{"most files gone", base, edit(base[:70], shifted(hour)), 0, false},
		{"most files grown", base, edit(base, func(i int, e *Entry) {
			e.MTime = e.MTime.Shift(hour)
			if i%3 > 0 {
				e.Size++
			}
		}), 0, false},
		{"sizes not known", edit(base, func(_ int, e *Entry) { e.Size = SizeUnknown }), edit(base, func(_ int, e *Entry) { e.Size = SizeUnknown; e.MTime = e.MTime.Shift(hour) }), 0, false},
		{"times not known", edit(base, func(_ int, e *Entry) { e.MTime = Anytime() }), edit(base, func(_ int, e *Entry) { e.MTime = Anytime() }), 0, false},
		{"two files", base[:2], edit(base[:2], shifted(hour)), 0, false},
		{"three files", base[:3], edit(base[:3], shifted(hour)), hour, true},
		{"no file", nil, nil, 0, false},
		{"directories", edit(base, func(_ int, e *Entry) { e.Type = Dir }), edit(base, func(_ int, e *Entry) { e.Type = Dir; e.MTime = e.MTime.Shift(hour) }), 0, false},
		{"dates only, and a few times", edit(base, func(i int, e *Entry) {
			if i%10 > 0 {
				e.MTime = Interval{e.MTime.Min - 86400, e.MTime.Min + 86400}
			}
		}), edit(base, func(i int, e *Entry) {
			e.MTime = e.MTime.Shift(hour)
			if i%10 > 0 {
				e.MTime = Interval{e.MTime.Min - 86400, e.MTime.Min + 86400}
			}
		}), hour, true},
		{"a date that contradicts", edit(base, func(i int, e *Entry) {
			if i == 50 {
				e.MTime = Interval{e.MTime.Min - 86400, e.MTime.Min + 86400}
			}
		}), edit(base, func(i int, e *Entry) {
			e.MTime = e.MTime.Shift(hour)
			if i == 50 {
				e.MTime = Interval{e.MTime.Min + 7*86400, e.MTime.Min + 8*86400}
			}
		}), 0, false},
		// Files that are written anew can look alike.
		{"all written every hour, size fixed", edit(base, func(i int, e *Entry) { e.MTime = Interval{one + int64(i%40)*60, one + int64(i%40)*60 + 59} }),
			edit(base, func(i int, e *Entry) {
				e.MTime = Interval{one + 3600 + int64(i%40)*60, one + 3600 + int64(i%40)*60 + 59}
			}), 0, false},
		{"all written every day, size fixed", edit(base, func(i int, e *Entry) { e.MTime = Interval{one + int64(i%23)*3600, one + int64(i%23)*3600 + 59} }),
			edit(base, func(i int, e *Entry) {
				e.MTime = Interval{one + 86400 + int64(i%23)*3600, one + 86400 + int64(i%23)*3600 + 59}
			}), 0, false},
		{"renamed in rotation every hour", regular(48, hour), edit(regular(48, hour), shifted(hour)), 0, false},
		{"renamed in rotation, newest first", edit(regular(48, hour), func(i int, e *Entry) { e.MTime = e.MTime.Shift(-2 * hour * time.Duration(i)) }),
			edit(regular(48, hour), func(i int, e *Entry) { e.MTime = e.MTime.Shift(-2*hour*time.Duration(i) + hour) }), 0, false},
	}
	for _, tt := range tests {
		if got, ok := UniformShift(tt.earlier, tt.later); got != tt.want || ok != tt.ok {
			t.Errorf("%s: %v, %v; want %v, %v", tt.what, got, ok, tt.want, tt.ok)
		}
	}
}

// Files that are rewritten after the earlier listing, at whatever times, are
// never taken for a moved clock; a moved clock is found in spite of some noise.
func TestUniformShiftProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "files")
		var earlier, later []Entry
		listed := int64(1_700_000_000)
		for i := range n {
			minute := rapid.Int64Range(0, 60*24*3).Draw(t, "age")
			was := listed - minute*60
			again := listed + rapid.Int64Range(0, 60*24).Draw(t, "rewritten")*60
			e := Entry{Name: fmt.Sprint(i), Raw: fmt.Sprint(i), Size: rapid.Int64Range(0, 3).Draw(t, "size"), MTime: Interval{was, was + 59}, Type: File}
			earlier = append(earlier, e)
			e.MTime = Interval{again, again + 59}
			later = append(later, e)
		}
		byName := func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) }
		slices.SortFunc(earlier, byName)
		slices.SortFunc(later, byName)
		if d, ok := UniformShift(earlier, later); ok {
			t.Fatalf("rewritten files are taken for a clock that moved by %v", d)
		}
	})
}
