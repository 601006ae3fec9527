package metadata

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"pgregory.net/rapid"
)

func directory(ignoreCase bool, names ...string) *Directory {
	d := &Directory{folded: new(folded), anyCase: func() bool { return ignoreCase }}
	for _, n := range names {
		d.entries = append(d.entries, file(n, 1, noon))
	}
	slices.SortFunc(d.entries, func(a, b listing.Entry) int { return strings.Compare(a.Name, b.Name) })
	d.cost = d.measure()
	return d
}

func TestFind(t *testing.T) {
	all := []string{"readme", "README", "Dados", "São Paulo.DBC", "ΑΣ", "Kelvin", "z"}
	for _, c := range []struct {
		name, exact, folded string
	}{
		{"README", "README", "README"},
		{"readme", "readme", "readme"},
		{"ReadMe", "", "README"}, // the first by name
		{"DADOS", "", "Dados"},
		{"sÃO pAULO.dbc", "", "São Paulo.DBC"},
		{"ας", "", "ΑΣ"},
		{"ασ", "", "ΑΣ"},
		{"\u212aelvin", "", "Kelvin"}, // with the Kelvin sign
		{"zz", "", ""},
		{"", "", ""},
	} {
		e, _ := directory(false, all...).Find(c.name)
		expect(t, "exact "+c.name, e.Name, c.exact)
		e, _ = directory(true, all...).Find(c.name)
		expect(t, "in any case "+c.name, e.Name, c.folded)
	}
}

// Replacing entries one by one is the same as replacing them in the slice.
func TestReplaced(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 400).Draw(t, "entries")
		var names []string
		for i := range n {
			names = append(names, fmt.Sprintf("f%03d", i))
		}
		d := directory(false, names...)
		model := slices.Clone(d.entries)
		for k := range rapid.IntRange(0, 600).Draw(t, "changes") {
			i := rapid.IntRange(0, n-1).Draw(t, "index")
			e := d.at(i)
			e.Size = int64(k)
			old := d
			was := old.at(i)
			d = d.replaced(i, e)
			model[i] = e
			if old.at(i) != was {
				t.Fatal("the old directory changed")
			}
		}
		if !slices.Equal(d.Entries(), model) {
			t.Fatal("the entries differ")
		}
		for i := range model {
			if e, ok := d.Find(model[i].Name); !ok || e != model[i] {
				t.Fatalf("found %+v, want %+v", e, model[i])
			}
		}
		if d.cost != d.measure() {
			t.Fatalf("cost %d, measured %d", d.cost, d.measure())
		}
		if len(d.patches) > maxPatches {
			t.Fatalf("%d patches", len(d.patches))
		}
	})
}

// A known file costs at most 300 bytes, all in, and about what it is said to.
func TestMemoryPerEntry(t *testing.T) {
	const dirs, files = 20, 5000
	var payloads [][]byte
	for i := range dirs {
		d := &Directory{path: fmt.Sprintf("dissemin/publicos/SIHSUS/200801_/Dados/%d", i), asked: noon, fetched: noon}
		for j := range files {
			name := fmt.Sprintf("RDSP%02d%06d-área.dbc", i, j)
			d.entries = append(d.entries, listing.Entry{
				Name: name, Raw: strings.ReplaceAll(name, "á", "\xe1"), Size: int64(j),
				MTime: listing.Exactly(noon), Type: listing.File,
			})
		}
		payloads = append(payloads, encode(d))
	}
	m, err := newMemory(1 << 30)
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	before := heap()
	for _, p := range payloads {
		d, err := decode(p)
		if err != nil {
			t.Fatal(err)
		}
		d.folded, d.anyCase = new(folded), func() bool { return true }
		d.folded.find(d.entries, "x")
		d.cost = d.measure()
		m.put(d)
	}
	held := heap() - before
	count, counted := m.usage()
	expect(t, "directories", count, dirs)
	per := held / (dirs * files)
	t.Logf("%d bytes an entry; counted %d, held %d", per, counted, held)
	if per > 300 {
		t.Errorf("%d bytes an entry", per)
	}
	if counted < held*9/10 || counted > held*13/10 {
		t.Errorf("counted %d bytes, held %d", counted, held)
	}
	runtime.KeepAlive(payloads)
}

func heap() int64 {
	var st runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&st)
	return int64(st.HeapAlloc)
}
