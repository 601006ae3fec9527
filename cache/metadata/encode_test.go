package metadata

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"pgregory.net/rapid"
)

// anyEntry draws an entry as a listing can hold it.
func anyEntry(t *rapid.T) listing.Entry {
	e := listing.Entry{
		Name:  rapid.StringMatching(`[a-zA-Z0-9é ~-]{1,12}`).Draw(t, "name"),
		Type:  rapid.SampledFrom([]listing.Type{listing.File, listing.Dir, listing.Symlink}).Draw(t, "type"),
		Size:  rapid.OneOf(rapid.Int64Range(-1, 3), rapid.Int64Range(-1, math.MaxInt64)).Draw(t, "size"),
		MTime: listing.Anytime(),
	}
	e.Raw = e.Name
	if rapid.Bool().Draw(t, "spelt otherwise") {
		e.Raw = "\xe9" + e.Name
	}
	if e.Type == listing.Symlink {
		e.Target = rapid.String().Draw(t, "target")
	}
	if rapid.Bool().Draw(t, "timed") {
		a, b := rapid.Int64().Draw(t, "min"), rapid.Int64().Draw(t, "max")
		e.MTime = listing.Interval{Min: min(a, b), Max: max(a, b)}
	}
	return e
}

func anyEntries(t *rapid.T) []listing.Entry {
	all := rapid.SliceOfNDistinct(rapid.Custom(anyEntry), 0, 20, func(e listing.Entry) string { return e.Name }).Draw(t, "entries")
	slices.SortFunc(all, func(a, b listing.Entry) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func TestEncodeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := &Directory{
			path:     string(rapid.SliceOf(rapid.Byte()).Draw(t, "path")),
			entries:  anyEntries(t),
			unparsed: rapid.IntRange(0, 9).Draw(t, "unparsed"),
			asked:    time.Unix(0, rapid.Int64Range(1, math.MaxInt64).Draw(t, "asked")),
			fetched:  time.Unix(0, rapid.Int64Range(1, math.MaxInt64).Draw(t, "fetched")),
		}
		if rapid.Bool().Draw(t, "doubted") {
			d.asked = time.Time{}
		}
		got, err := decode(encode(d))
		if err != nil {
			t.Fatal(err)
		}
		if got.path != d.path || got.unparsed != d.unparsed || !got.asked.Equal(d.asked) || !got.fetched.Equal(d.fetched) {
			t.Fatalf("got %+v, want %+v", got, d)
		}
		if len(got.entries)+len(d.entries) > 0 && !reflect.DeepEqual(got.entries, d.entries) {
			t.Fatalf("got %+v, want %+v", got.entries, d.entries)
		}
	})
}

func TestDecodeRefuses(t *testing.T) {
	good := func(name string) listing.Entry { return file(name, 1, noon) }
	bad := map[string][]listing.Entry{
		"empty name":     {good("")},
		"dot":            {good(".")},
		"dot dot":        {good("..")},
		"slash":          {good("a/b")},
		"NUL":            {good("a\x00")},
		"newline":        {good("a\n")},
		"not UTF-8":      {good("\xff")},
		"bad raw name":   {{Name: "a", Raw: "a\r", Type: listing.File}},
		"no type":        {{Name: "a", Raw: "a"}},
		"order":          {good("b"), good("a")},
		"twice the same": {good("a"), good("a")},
		"negative size":  {file("a", -2, noon)},
		"inverted times": {{Name: "a", Raw: "a", Type: listing.File, MTime: listing.Interval{Min: 2, Max: 1}}},
	}
	for what, entries := range bad {
		if d, err := decode(encode(&Directory{entries: entries})); err == nil {
			t.Errorf("%s: accepted as %+v", what, d.entries)
		}
	}
	whole := encode(&Directory{path: "p", entries: []listing.Entry{good("a"), good("b")}})
	if _, err := decode(whole); err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if _, err := decode(whole[:n]); err == nil {
			t.Errorf("accepted when cut to %d of %d bytes", n, len(whole))
		}
	}
	if _, err := decode(append(whole, 0)); err == nil {
		t.Error("accepted with a byte too many")
	}
}

// FuzzDecode: nothing on disk panics, takes memory without bound, or becomes a
// name that leaves its directory; and what is accepted is stable.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add(encode(&Directory{}))
	f.Add(encode(&Directory{path: "a/b", asked: noon, fetched: noon, unparsed: 3, entries: []listing.Entry{
		dir("D"), file("f", 1<<40, noon),
		{Name: "g", Raw: "\xe9", Size: listing.SizeUnknown, MTime: listing.Anytime(), Type: listing.File},
		{Name: "l", Raw: "l", Target: "../x", MTime: listing.Interval{Min: -5, Max: 60}, Type: listing.Symlink},
	}}))
	f.Add([]byte{0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := decode(b)
		if err != nil {
			return
		}
		for i, e := range d.entries {
			if listing.CheckName(e.Name) != nil || listing.CheckName(e.Raw) != nil {
				t.Fatalf("entry %d: %q, %q", i, e.Name, e.Raw)
			}
			if got, ok := d.index(e.Name); !ok || got != i {
				t.Fatalf("entry %d is not found", i)
			}
		}
		again, err := decode(encode(d))
		if err != nil || fmt.Sprint(again.entries) != fmt.Sprint(d.entries) || again.path != d.path {
			t.Fatalf("read again: %v", err)
		}
	})
}
