package metadata

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"pgregory.net/rapid"
)

func minute(at time.Time) listing.Interval {
	return listing.Interval{Min: at.Unix(), Max: at.Unix() + 59}
}

func TestRefine(t *testing.T) {
	at := noon.Add(25 * time.Second)
	entry := func(size int64, mtime listing.Interval) listing.Entry {
		return listing.Entry{Name: "f", Raw: "f", Size: size, MTime: mtime, Type: listing.File}
	}
	unknown := int64(listing.SizeUnknown)
	for _, c := range []struct {
		what           string
		old, new, want listing.Entry
		same           bool
	}{
		{"the second stays known", entry(1, listing.Exactly(at)), entry(1, minute(noon)), entry(1, listing.Exactly(at)), true},
		{"and becomes known", entry(1, minute(noon)), entry(1, listing.Exactly(at)), entry(1, listing.Exactly(at)), true},
		{"another size", entry(1, listing.Exactly(at)), entry(2, minute(noon)), entry(2, minute(noon)), false},
		{"another time", entry(1, listing.Exactly(at)), entry(1, minute(noon.Add(time.Minute))), entry(1, minute(noon.Add(time.Minute))), false},
		{"a settled size stays", entry(9, listing.Exactly(at)), entry(unknown, minute(noon)), entry(9, listing.Exactly(at)), true},
		{"but not of another time", entry(9, listing.Exactly(at)), entry(unknown, minute(noon.Add(time.Hour))), entry(unknown, minute(noon.Add(time.Hour))), false},
		{"nor without a time", entry(9, listing.Anytime()), entry(unknown, listing.Anytime()), entry(unknown, listing.Anytime()), false},
		{"a size becomes known", entry(unknown, minute(noon)), entry(5, minute(noon)), entry(5, minute(noon)), false},
	} {
		got := refine(c.old, c.new)
		expect(t, c.what, got, c.want)
		expect(t, c.what+": same content", sameContent(c.old, got), c.same)
	}
	d := dir("f")
	expect(t, "a file that became a directory", refine(entry(1, listing.Exactly(at)), d), d)
}

func TestLearned(t *testing.T) {
	old := listing.Entry{Name: "n", Raw: "r", Size: 5, MTime: minute(noon), Type: listing.File}
	at := noon.Add(7 * time.Second)
	expect(t, "the exact time", learned(old, listing.Entry{Size: 5, MTime: listing.Exactly(at), Type: listing.File}), old)
	expect(t, "the time alone", learned(old, listing.Entry{Size: listing.SizeUnknown, MTime: listing.Exactly(at)}), old)
	want, timeless := old, old
	want.MTime, timeless.MTime = listing.Exactly(at), listing.Anytime()
	expect(t, "a time where none was known", learned(timeless, listing.Entry{Size: 5, MTime: listing.Exactly(at)}), want)

	later := noon.Add(time.Hour)
	want.Size, want.MTime = 6, listing.Exactly(later)
	expect(t, "another file", learned(old, listing.Entry{Size: 6, MTime: listing.Exactly(later)}), want)
	want.Size = listing.SizeUnknown
	expect(t, "another file of unknown size", learned(old, listing.Entry{Size: listing.SizeUnknown, MTime: listing.Exactly(later)}), want)
	want.Size, want.MTime = 6, listing.Anytime()
	expect(t, "another size at an unknown time", learned(old, listing.Entry{Size: 6, MTime: listing.Anytime()}), want)

	link := listing.Entry{Name: "l", Raw: "l", Target: "f", MTime: minute(noon), Type: listing.Symlink}
	expect(t, "what a symlink points to", learned(link, file("", 5, noon)), link)

	is := learned(old, listing.Entry{Name: "x", Raw: "y", MTime: listing.Anytime(), Type: listing.Dir})
	expect(t, "a directory now", is, listing.Entry{Name: "n", Raw: "r", MTime: listing.Anytime(), Type: listing.Dir})
}

// The merged listing has exactly the new one's names, and versions that the new
// one does not contradict.
func TestMergeKeepsTheNewListing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		old, fresh := anyEntries(t), anyEntries(t)
		copied := fmt.Sprint(fresh)
		got, changed := merge(old, fresh)
		if fmt.Sprint(fresh) != copied {
			t.Fatal("the server's listing was altered")
		}
		if len(got) != len(fresh) {
			t.Fatalf("%d entries of %d", len(got), len(fresh))
		}
		for i := range got {
			if got[i].Name != fresh[i].Name || got[i].Raw != fresh[i].Raw || got[i].Type != fresh[i].Type || !got[i].Version().Same(fresh[i].Version()) {
				t.Fatalf("got %+v of %+v", got[i], fresh[i])
			}
		}
		if again, _ := merge(got, fresh); fmt.Sprint(again) != fmt.Sprint(got) {
			t.Fatalf("merged again: %v, was %v", again, got)
		}
		if !changed && len(old) != len(got) {
			t.Fatal("names were added or lost, but the content is said to be the same")
		}
	})
}

// When the server's clock is set to another zone, its files are the same ones.
func TestTimeShift(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		listed := func(shift time.Duration) (all []listing.Entry) {
			for i := range 20 {
				e := file(fmt.Sprintf("f%02d", i), int64(100+i), noon)
				e.MTime = minute(noon.Add(time.Duration(i*37)*time.Minute + shift))
				all = append(all, e)
			}
			return all
		}
		r := newServer(map[string][]listing.Entry{"": listed(0)})
		s := open(t, r, folder)
		before := mustList(t, s, "")
		for range 2 { // the shift stays, and so do the times
			r.dirs[""] = append(listed(-time.Hour), file("g", 1, noon.Add(-time.Hour)))
			time.Sleep(time.Hour)
			after := mustList(t, s, "")
			for _, e := range before.Entries() {
				got, _ := after.Find(e.Name)
				expect(t, e.Name, got, e)
			}
			g, _ := after.Find("g")
			expect(t, "a new file, by the old clock", g.MTime, listing.Exactly(noon))
		}
		expect(t, "lists", r.lists[""], 3)
	})
}
