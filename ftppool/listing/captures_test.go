package listing

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The files under testdata are what vsftpd 3.0.3, proftpd 1.3.8 and pure-ftpd
// 1.0.50 sent for one directory on 2026-11-23, with "LIST -a" and MLSD. It
// holds these entries, a fifo, a device, and names with CR or LF.
var captured = []Entry{
	{Name: " leading", Type: File},
	{Name: "trailing ", Type: File},
	{Name: "in  ner", Type: File},
	{Name: "#hash", Type: File},
	{Name: "%41", Type: File},
	{Name: "semi;colon", Type: File},
	{Name: "star*", Type: File},
	{Name: "[x]", Type: File},
	{Name: "-dash", Type: File},
	{Name: "a -> b", Type: File},
	{Name: "tab\tx", Type: File},
	{Name: `back\slash`, Type: File},
	{Name: `q"uote`, Type: File},
	{Name: "type=dir; x", Type: File},
	{Name: "café.txt", Type: File},
	{Name: "café~28567eea.txt", Raw: "caf\xe9.txt", Type: File},
	{Name: strings.Repeat("n", 255), Type: File},
	{Name: "plain.txt", Size: 6, Type: File},
	{Name: "sized.bin", Size: 12345, Type: File},
	{Name: "big.bin", Size: 5 << 30, Type: File},
	{Name: "zero", Type: File},
	{Name: "leap", Type: File, MTime: utc("2024-02-29 12:34:56", 1)},
	{Name: "old", Type: File, MTime: utc("2009-12-02 23:30:00", 1)},
	{Name: "epoch", Type: File, MTime: utc("1970-01-01 00:00:00", 1)},
	{Name: "future", Type: File, MTime: utc("2040-06-01 01:02:03", 1)},
	{Name: "folder", Type: Dir},
	{Name: "folder with space", Type: Dir},
	{Name: "link", Type: Symlink, Target: "plain.txt"},
	{Name: "current_folder", Type: Symlink, Target: "folder"},
	{Name: "dangling", Type: Symlink, Target: "missing"},
	{Name: "loop", Type: Symlink, Target: "loop"},
	{Name: "absolute", Type: Symlink, Target: "/etc/passwd"},
	{Name: "escaping", Type: Symlink, Target: "../../../x"},
	{Name: "li nk", Type: Symlink, Target: "tar get"},
	{Name: "a -> l", Type: Symlink, Target: "b -> c"},
	{Name: "semilink", Type: Symlink, Target: "x;y=z"},
	{Name: "semi space", Type: Symlink, Target: "p; q"},
}

// oddities are the differences that are the servers' own doing.
var oddities = map[string]struct {
	unparsed int
	missing  []string // not told
	extra    []string // told as files
}{
	"vsftpd-lista.txt":   {unparsed: 3},
	"proftpd-lista.txt":  {unparsed: 3},
	"proftpd-mlsd.txt":   {unparsed: 3, extra: []string{"fifo", "dev"}, missing: []string{"absolute", "dangling", "escaping", "loop", "li nk", "semilink", "semi space", "a -> l"}},
	"pureftpd-lista.txt": {missing: []string{"tab\tx"}},
	"pureftpd-mlsd.txt":  {unparsed: 2, missing: []string{"tab\tx"}},
}

func TestCaptures(t *testing.T) {
	recent := utc("2026-11-20 10:11:12", 1)
	for _, file := range slices.Sorted(maps.Keys(oddities)) {
		t.Run(file, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("testdata", file))
			if err != nil {
				t.Fatal(err)
			}
			l, r := parse(t, Parser{Now: now, Location: time.UTC}, string(text))
			mlsd := strings.Contains(file, "mlsd")
			if want := map[bool]Style{false: Unix, true: Facts}[mlsd]; r.Style != want || r.Cut {
				t.Errorf("style %v, cut %v", r.Style, r.Cut)
			}
			odd := oddities[file]
			if l.Unparsed != odd.unparsed {
				t.Errorf("%d unparsed, want %d: %+v", l.Unparsed, odd.unparsed, r.Samples)
			}
			got := map[string]Entry{}
			for _, e := range l.Entries {
				got[e.Name] = e
			}
			for _, want := range captured {
				e, ok := got[want.Name]
				delete(got, want.Name)
				if missing := slices.Contains(odd.missing, want.Name); missing == ok {
					t.Errorf("%q is there: %v", want.Name, ok)
				}
				if !ok {
					continue
				}
				if want.Raw == "" {
					want.Raw = want.Name
				}
				if mlsd {
					want.Target = "" // neither server tells it
				}
				if want.MTime == (Interval{}) && want.Name != "epoch" {
					want.MTime = recent
				}
				if want.Name == "future" && file != "vsftpd-lista.txt" && !mlsd {
					want.MTime = utc("2026-06-01 01:02:00", 60) // shown without the year
				}
				if want.Type == Dir && !mlsd {
					want.MTime = e.MTime
				}
				if !e.MTime.Meets(want.MTime) || e.MTime.Max-e.MTime.Min >= 86400 || mlsd && e.MTime != want.MTime {
					t.Errorf("%q: time %v, want %v", e.Name, e.MTime, want.MTime)
				}
				want.MTime = e.MTime
				sameEntry(t, e, want)
			}
			for _, name := range odd.extra {
				delete(got, name)
			}
			for name := range got {
				t.Errorf("%q should not be there", name)
			}
		})
	}
}
