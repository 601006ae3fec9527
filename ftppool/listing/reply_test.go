package listing

import (
	"errors"
	"testing"
	"time"
)

func TestParseMLST(t *testing.T) {
	p := Parser{Now: now}
	tests := []struct {
		text string
		raw  string
		want Entry
	}{
		{"Start of list for plain.txt\n modify=20251120101112;perm=adfr;size=6;type=file;unique=FE00U98C9B2; /pub/plain.txt\nEnd of list", "plain.txt",
			Entry{Name: "plain.txt", Size: 6, MTime: utc("2025-11-20 10:11:12", 1), Type: File}},
		{"250-Begin\r\n type=dir;sizd=4096;modify=20251120101112; folder\r\n250 End.\r\n", "folder",
			Entry{Name: "folder", MTime: utc("2025-11-20 10:11:12", 1), Type: Dir}},
		{"250-\n Size=53248;Modify=20230327134339.000;Type=dir; Download\n\n250 Requested file action okay, completed.", "Download",
			Entry{Name: "Download", MTime: utc("2023-03-27 13:43:39", 1), Type: Dir}},
		{"250-MLST listing for file.xml\n    size=892;type=file;create=20230504151245;modify=20230622143434; file.xml\n250 MLST end", "file.xml",
			Entry{Name: "file.xml", Size: 892, MTime: utc("2023-06-22 14:34:34", 1), Type: File}},
		{"250-type=file;size=1; x\n250 End", "x", Entry{Name: "x", Size: 1, MTime: Anytime(), Type: File}},
		{"Begin\n type=OS.unix=slink:../a b;size=7; link\nEnd", "link", Entry{Name: "link", Target: "../a b", MTime: Anytime(), Type: Symlink}},
		{"Begin\n type=file;size=3; caf\xe9\nEnd", "caf\xe9", Entry{Name: "café", Raw: "caf\xe9", Size: 3, MTime: Anytime(), Type: File}},
		{"Begin\n type=file;size=3;\nEnd", "x", Entry{Name: "x", Size: 3, MTime: Anytime(), Type: File}},
		// A directory speaks of itself.
		{"Begin\n type=cdir;sizd=4096;modify=20261123193733; .\nEnd.", "", Entry{MTime: utc("2026-11-23 19:37:33", 1), Type: Dir}},
		{"Begin\n type=pdir;modify=20261123193733; /\nEnd.", "sub", Entry{Name: "sub", MTime: utc("2026-11-23 19:37:33", 1), Type: Dir}},
	}
	for _, tt := range tests {
		got, err := p.ParseMLST(tt.text, tt.raw)
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		sameEntry(t, got, tt.want)
	}
	for _, text := range []string{"", "250 End", "Start of list for a=b\nEnd", "Begin\n size=5; x\nEnd", "Begin\n type=unknown; x\nEnd", "-rw-r--r-- 1 0 0 3 Jan 25 00:17 x"} {
		if e, err := p.ParseMLST(text, "x"); !errors.Is(err, ErrReply) {
			t.Errorf("%q: %+v, %v", text, e, err)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"6": 6, "213 6\r\n": 6, "213": 213, "213 213": 213, " 0012 ": 12, "5368709120": 5 << 30, "213 7 bytes": 7, "1152921504606846976": 1 << 60, "0": 0} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "213 -1", "x", "213 0x10", "99999999999999999999", "9999999999999999999", "10000000000000000000", "1152921504606846977", "213 1,234"} {
		if got, err := ParseSize(text); !errors.Is(err, ErrReply) {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

func TestParseMDTM(t *testing.T) {
	for text, want := range map[string]string{
		"20240229123456":             "2024-02-29 12:34:56",
		"213 20240229123456\r\n":     "2024-02-29 12:34:56",
		"213 20240229123456.789":     "2024-02-29 12:34:56",
		"213 191240229123456":        "2024-02-29 12:34:56",
		"213 191000101000000":        "2000-01-01 00:00:00",
		"19991231235959":             "1999-12-31 23:59:59",
		"19100101000000":             "1910-01-01 00:00:00",
		"20161231235960":             "2017-01-01 00:00:00", // a leap second
		"213 20240229123456 GMT":     "2024-02-29 12:34:56",
		"213 Modified 2024022912345": "",
		"":                           "",
		"213":                        "",
		"213 20240230000000":         "",
		"213 20230229000000":         "",
		"213 20241301000000":         "",
		"213 20240101240000":         "",
		"213 20240101006000":         "",
		"213 20240101000061":         "",
		"213 2024010100000x":         "",
		"213 192240229123456":        "",
	} {
		got, err := ParseMDTM(text)
		switch {
		case want == "" && !errors.Is(err, ErrReply):
			t.Errorf("%q: %v, %v", text, got, err)
		case want != "" && (err != nil || got.Format(time.DateTime) != want || got.Location() != time.UTC):
			t.Errorf("%q: %v, %v; want %s", text, got, err, want)
		}
	}
}
