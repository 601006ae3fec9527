package ftppool

import (
	"fmt"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// A server with daylight saving, and files of twenty years: no time is ever
// wrong, few are wide, and it costs few questions.
func TestZoneWithDaylightSaving(t *testing.T) {
	for _, zone := range []string{"America/Sao_Paulo", "Europe/Berlin", "Australia/Sydney", "Asia/Kolkata", "UTC"} {
		for _, sequential := range []bool{false, true} {
			t.Run(fmt.Sprint(zone, " sequential=", sequential), func(t *testing.T) {
				t.Parallel()
				profile := ftptest.DATASUS()
				var err error
				if profile.Zone, err = time.LoadLocation(zone); err != nil {
					t.Fatal(err)
				}
				tree := ftptest.NewTree()
				exact := map[string]time.Time{}
				for dir := range 20 {
					for i := range 30 {
						name := fmt.Sprintf("d%d/f%d", dir, i)
						exact[name] = time.Date(2005+dir, 1, 3+12*i, 7*i%24, 13*i%60, 0, 0, time.UTC)
						tree.WriteFile(name, nil, exact[name])
					}
				}
				s := ftptest.New(t, ftptest.Options{Profile: profile, Tree: tree})
				p := newPool(t, s, func(c *Config) {
					c.Profile = &Profile{Learned: true, EPSV: true, Pipelining: !sequential}
				})
				wide := 0
				for range 2 {
					wide = 0
					for dir := range 20 {
						for _, e := range mustList(t, p, fmt.Sprint("d", dir)).Entries {
							if want := exact[fmt.Sprintf("d%d/%s", dir, e.Raw)]; !e.MTime.Meets(listing.Exactly(want)) {
								t.Fatalf("d%d/%s: %v, want %v", dir, e.Raw, e.MTime, want.Unix())
							}
							if e.MTime.Max-e.MTime.Min >= 60 {
								wide++
							}
						}
					}
				}
				if n := s.Count("MDTM"); n > 180 {
					t.Errorf("MDTM was asked %d times", n)
				}
				t.Logf("%d of 600 times are wide after %d questions", wide, s.Count("MDTM"))
			})
		}
	}
}

// A file that is replaced by one of its size within the hour is seen to be
// another whenever it is listed; that costs a question each time, not for what is
// known, and what is learned does not grow.
func TestReplacedWithinTheHour(t *testing.T) {
	tree := ftptest.NewTree()
	when := time.Date(2024, 5, 17, 10, 0, 0, 0, time.UTC)
	tree.WriteFile("d/f", []byte("0"), when)
	tree.WriteFile("d/old", nil, when.AddDate(0, 0, -1))
	tree.WriteFile("d/future", nil, time.Now().AddDate(1, 0, 0))
	s := ftptest.New(t, ftptest.Options{Profile: ftptest.DATASUS(), Tree: tree})
	p := newPool(t, s)
	list := func() listing.Interval {
		for _, e := range mustList(t, p, "d").Entries {
			if e.Raw == "f" {
				return e.MTime
			}
		}
		t.Fatal("it is not listed")
		return listing.Anytime()
	}
	before := list()
	for i := range 20 {
		when = when.Add(45 * time.Minute)
		tree.WriteFile("d/f", []byte("1"), when)
		p.learn(func(k *knowledge) { k.listings = 2 * eagerRounds }) // the next ones are no rounds
		asked := s.Count("MDTM")
		now := list()
		if now.Meets(before) || !now.Meets(listing.Exactly(when)) || list() != now {
			t.Fatalf("change %d: %v after %v, want %v", i, now, before, when.Unix())
		}
		if n := s.Count("MDTM") - asked; n != 1 {
			t.Fatalf("change %d: %d questions", i, n)
		}
		before = now
	}
	if n := len(p.known().ZoneSamples); n > 3 {
		t.Errorf("%d samples", n)
	}
}

// A zone that is given is believed, and nothing is asked.
func TestZoneGiven(t *testing.T) {
	profile := ftptest.DATASUS()
	tree := ftptest.NewTree()
	when := time.Date(2018, 1, 15, 12, 0, 0, 0, time.UTC) // summer in Brazil, saving time
	tree.WriteFile("f", nil, when)
	s := ftptest.New(t, ftptest.Options{Profile: profile, Tree: tree})
	p := newPool(t, s, func(c *Config) { c.Location = profile.Zone })
	e := mustList(t, p, "").Entries[0]
	if !e.MTime.Meets(listing.Exactly(when)) || e.MTime.Max-e.MTime.Min >= 60 || s.Count("MDTM") != 0 {
		t.Errorf("%+v after %d questions", e.MTime, s.Count("MDTM"))
	}
}

// What is left of samples says the same of every time.
func TestThinOut(t *testing.T) {
	const day = 24 * 3600
	samples := []ZoneSample{{0, 1}, {day, 1}, {2 * day, 1}, {3 * day, 2}, {100 * day, 2}, {115 * day, 2}, {300 * day, 2}, {301 * day, 1}, {302 * day, 1}}
	thin := thinOut(samples)
	if len(thin) != 8 {
		t.Errorf("%v", thin)
	}
	for at := int64(-day); at < 304*day; at += day / 4 {
		in := listing.Interval{Min: at, Max: at + 59}
		if a, b := correct(samples, in), correct(thin, in); a != b {
			t.Errorf("%v became %v, and %v before", in, b, a)
		}
	}
}

func TestCorrect(t *testing.T) {
	const day = 24 * 3600
	samples := []ZoneSample{{0, 3600}, {100 * day, 3600}, {200 * day, 7200}, {400 * day, 7200}}
	minute := func(at int64) listing.Interval { return listing.Interval{Min: at, Max: at + 59} }
	for _, c := range []struct{ in, want listing.Interval }{
		{minute(0), minute(3600)},
		{minute(50 * day), minute(50*day + 3600)},
		{minute(200 * day), minute(200*day + 7200)},
		{minute(110 * day), listing.Interval{Min: 110 * day, Max: 110*day + 59 + 7200}},
		{minute(190 * day), listing.Interval{Min: 190*day + 3600, Max: 190*day + 59 + 3*3600}},
		{minute(300 * day), listing.Interval{Min: 300*day + 3600, Max: 300*day + 59 + 3*3600}},
		{minute(-day), listing.Interval{Min: -day, Max: -day + 59 + 7200}},
		{minute(500 * day), listing.Interval{Min: 500*day + 3600, Max: 500*day + 59 + 3*3600}},
		{listing.Anytime(), listing.Anytime()},
		{listing.Interval{Min: 10 * day, Max: 12 * day}, listing.Interval{Min: 10*day + 3600, Max: 12*day + 3600}},
	} {
		if got := correct(samples, c.in); got != c.want {
			t.Errorf("%v became %v, want %v", c.in, got, c.want)
		}
	}
}
