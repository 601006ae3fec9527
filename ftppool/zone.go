package ftppool

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// LIST shows the server's local time and does not say which zone that is, nor
// when it has daylight saving. Files whose exact time MDTM tells are samples of
// the difference; between two samples that agree and lie close together it is
// known, elsewhere it may be an hour off, and the times get that much wider. A
// file that is replaced by one of its size within that hour would look the same;
// so what is newer than all samples is asked about whenever it is listed.

// ZoneSample is the difference between LIST and MDTM at one time.
type ZoneSample struct {
	At    int64 // what LIST showed, read as UTC, in Unix seconds
	Shift int64 // seconds to be added to make it UTC
}

const (
	eagerRounds  = 16                                        // listings at first that are each asked about
	roundSamples = 8                                         // files asked for with one listing, where they go together
	maxSamples   = 400                                       // of one server
	closeSamples = int64(110 * 24 * time.Hour / time.Second) // no daylight saving, and no pause of it, is shorter
	savingHour   = int64(time.Hour / time.Second)
	farthestZone = 14 * savingHour
	fruitless    = 8 // rounds without a sample, in a row, after which no more is tried
)

// correctZone turns the times of a listing, read as UTC, into UTC.
func (s *session) correctZone(dir string, l *listing.Listing) {
	p := s.pool
	if p.cfg.Location != nil {
		return // the parser has done it
	}
	round := false
	p.learn(func(k *knowledge) {
		// Each round costs a round trip, so later they are rarer.
		k.listings++
		round = k.listings <= eagerRounds || k.listings%4 == 0
	})
	k := p.known()
	switch {
	case k.fruitless >= fruitless:
	case round:
		n := roundSamples
		if !k.together() {
			// One by one: no more than is little beside the listing itself.
			n = min(n, 2+len(l.Entries)/500)
		}
		found, asked := s.sampleZone(dir, worthAsking(k.ZoneSamples, l.Entries, n))
		p.learn(func(k *knowledge) {
			if found {
				k.fruitless = 0
			} else if asked {
				k.fruitless++
			}
		})
	default:
		s.sampleZone(dir, worthAsking(k.ZoneSamples, newest(l.Entries, time.Now()), 1))
	}
	samples := p.known().ZoneSamples
	if len(samples) == 0 {
		if p.known().fruitless < fruitless {
			anyZone(l)
		}
		return
	}
	for i := range l.Entries {
		l.Entries[i].MTime = correct(samples, l.Entries[i].MTime)
	}
}

// correct applies what samples, in the order of their time, tell about t.
func correct(samples []ZoneSample, t listing.Interval) listing.Interval {
	if !t.Known() {
		return t
	}
	after, exact := slices.BinarySearchFunc(samples, t.Min, func(z ZoneSample, at int64) int { return cmp.Compare(z.At, at) })
	before := after
	if !exact {
		before--
	}
	switch {
	case before < 0:
		return widen(t, samples[after].Shift)
	case after == len(samples):
		return widen(t, samples[before].Shift)
	}
	a, b := samples[before], samples[after]
	if a.Shift == b.Shift && b.At-a.At <= closeSamples {
		return t.Shift(time.Duration(a.Shift) * time.Second)
	}
	if t.Min-a.At > b.At-t.Min {
		a = b
	}
	return widen(t, a.Shift)
}

// anyZone widens the times of files so that they are right in any zone: the
// server tells exact times for all that is known, and one of those must not
// make a file seem replaced. The middle of the interval stays where it was.
func anyZone(l *listing.Listing) {
	for i := range l.Entries {
		if e := &l.Entries[i]; e.Type == listing.File && minutes(e.MTime) {
			e.MTime.Min -= farthestZone
			e.MTime.Max += farthestZone
		}
	}
}

// widen shifts t by about shift. A date without a time of day is wide already.
func widen(t listing.Interval, shift int64) listing.Interval {
	t = t.Shift(time.Duration(shift) * time.Second)
	if minutes(t) {
		t.Min -= savingHour
		t.Max += savingHour
	}
	return t
}

func minutes(t listing.Interval) bool { return t.Known() && t.Max-t.Min < 60 }

// sampleZone asks for the exact time of some files of a listing, and tells
// whether any of the answers is a sample.
func (s *session) sampleZone(dir string, files []listing.Entry) (sampled, asked bool) {
	if len(files) == 0 {
		return false, false
	}
	commands := make([]string, len(files))
	for i, e := range files {
		commands[i] = "MDTM " + s.abs(listing.Join(dir, e.Raw))
	}
	replies, err := s.exchange(commands...)
	if err != nil {
		return false, false // the session is broken, the listing is not
	}
	var found []ZoneSample
	for i, r := range replies {
		if exact, err := listing.ParseMDTM(r.text); err == nil && r.code == 213 {
			// One that fits no zone was changed in between, or is a link.
			if shift, ok := listing.ZoneShift(files[i].MTime, exact); ok {
				found = append(found, ZoneSample{At: files[i].MTime.Min, Shift: int64(shift / time.Second)})
			}
		}
	}
	if len(found) == 0 {
		return false, true
	}
	s.pool.learn(func(k *knowledge) {
		all := append(slices.Clone(k.ZoneSamples), found...)
		slices.SortStableFunc(all, func(a, b ZoneSample) int { return cmp.Compare(a.At, b.At) })
		k.ZoneSamples = thinOut(slices.CompactFunc(all, func(a, b ZoneSample) bool { return a.At == b.At }))
	})
	return true, true
}

// thinOut leaves out samples that tell no more than those around them.
func thinOut(samples []ZoneSample) []ZoneSample {
	var kept []ZoneSample
	for i, z := range samples {
		if 0 < i && i < len(samples)-1 {
			a, b := kept[len(kept)-1], samples[i+1]
			if a.Shift == z.Shift && z.Shift == b.Shift && b.At-a.At <= closeSamples {
				continue
			}
		}
		kept = append(kept, z)
	}
	return kept
}

// newest returns the file changed last that can be asked about; not one whose
// time is in the future, in whatever zone, since others can change unseen by it.
func newest(entries []listing.Entry, now time.Time) (one []listing.Entry) {
	for i, e := range entries {
		if askable(e) && e.MTime.Min <= now.Unix()+farthestZone && (one == nil || e.MTime.Min > one[0].MTime.Min) {
			one = entries[i : i+1]
		}
	}
	return one
}

func askable(e listing.Entry) bool {
	return e.Type == listing.File && minutes(e.MTime) && !strings.Contains(e.Raw, iac)
}

// worthAsking chooses files, at most n, whose times the samples do not cover:
// the newest and the oldest, and more in between, evenly.
func worthAsking(samples []ZoneSample, entries []listing.Entry, n int) []listing.Entry {
	if len(samples) >= maxSamples {
		return nil
	}
	type file struct { // less to sort than entries
		mtime listing.Interval
		index int
	}
	var files []file
	for i, e := range entries {
		if askable(e) && (len(samples) == 0 || !minutes(correct(samples, e.MTime))) {
			files = append(files, file{e.MTime, i})
		}
	}
	slices.SortFunc(files, func(a, b file) int { return cmp.Compare(a.mtime.Min, b.mtime.Min) })
	files = slices.CompactFunc(files, func(a, b file) bool { return a.mtime == b.mtime })
	chosen := make([]listing.Entry, min(n, len(files)))
	for i := range chosen {
		chosen[i] = entries[files[i*(len(files)-1)/max(1, len(chosen)-1)].index]
	}
	return chosen
}

// zoneName is the server's zone now, in words.
func (p *Pool) zoneName() string {
	if p.cfg.Location != nil {
		return p.cfg.Location.String()
	}
	samples := p.known().ZoneSamples
	if len(samples) == 0 {
		return ""
	}
	ahead := -samples[len(samples)-1].Shift
	return time.Unix(0, 0).In(time.FixedZone("", int(ahead))).Format("UTC-07:00")
}
