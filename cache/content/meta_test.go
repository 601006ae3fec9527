package content

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

func sample() *meta {
	return &meta{
		Path:    []byte("d\xe9p\xf4t/f\n"),
		Version: listing.Version{Size: 3 << 20, MTime: listing.Interval{Min: -5, Max: 1 << 40}},
		Boot:    "b",
		Held:    [][2]int64{{0, 10}, {20, 3 << 20}},
		Durable: [][2]int64{{0, 5}},
		Fetched: time.Unix(1, 0).UTC(),
		Used:    time.Unix(2, 0).UTC(),
		Pinned:  true,
	}
}

func TestMetaRoundTrip(t *testing.T) {
	whole := sample()
	whole.Held = [][2]int64{{0, 3 << 20}}
	whole.Whole, whole.Sums = true, bytes.Repeat([]byte{7}, 12)
	whole.Version.MTime = listing.Anytime()
	for _, m := range []*meta{sample(), whole} {
		payload, err := m.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeMeta(payload)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("got %+v, %v, want %+v", got, err, m)
		}
	}
}

func TestImpossibleMeta(t *testing.T) {
	for name, change := range map[string]func(m *meta){
		"no path":          func(m *meta) { m.Path = nil },
		"no size":          func(m *meta) { m.Version.Size = 0 },
		"negative size":    func(m *meta) { m.Version.Size = -1 },
		"time backwards":   func(m *meta) { m.Version.MTime = listing.Interval{Min: 2, Max: 1} },
		"beyond the end":   func(m *meta) { m.Held = [][2]int64{{0, 3<<20 + 1}} },
		"before the start": func(m *meta) { m.Held = [][2]int64{{-1, 5}} },
		"empty range":      func(m *meta) { m.Held = [][2]int64{{5, 5}} },
		"out of order":     func(m *meta) { m.Held = [][2]int64{{20, 30}, {0, 10}} },
		"touching":         func(m *meta) { m.Held = [][2]int64{{0, 10}, {10, 20}} },
		"synced, not held": func(m *meta) { m.Durable = [][2]int64{{5, 15}} },
		"whole with holes": func(m *meta) { m.Whole = true },
		"sums too short":   func(m *meta) { m.Sums = make([]byte, 8) },
	} {
		m := sample()
		change(m)
		payload, err := m.encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decodeMeta(payload); err == nil {
			t.Errorf("%s: accepted as %+v", name, got)
		}
	}
}

func FuzzMeta(f *testing.F) {
	payload, err := sample().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(payload)
	f.Add([]byte("{}"))
	f.Add([]byte(`{"Path":"eA==","Version":{"Size":9223372036854775807},"Held":[[0,9223372036854775807]],"Whole":true}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		m, err := decodeMeta(payload)
		if err != nil {
			return
		}
		held, err := toRanges(m.Held, m.Version.Size)
		if err != nil || held.total() > m.Version.Size || len(m.Path) == 0 {
			t.Fatalf("accepted %+v", m)
		}
		again, err := m.encode()
		if err != nil {
			return // a year that JSON can not write
		}
		if n, err := decodeMeta(again); err != nil || !reflect.DeepEqual(fromRanges(&held), m.Held) && len(m.Held) > 0 || n.Version != m.Version {
			t.Fatalf("%+v became %+v, %v", m, n, err)
		}
	})
}
