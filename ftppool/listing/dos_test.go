package listing

import (
	"strings"
	"testing"
)

func TestDOSLines(t *testing.T) {
	minute := func(s string) Interval { return utc(s+":00", 60) }
	tests := []struct {
		text string
		want Entry
	}{
		// Microsoft FTP Service, 2- and 4-digit years
		{"04-27-00  12:09PM       <DIR>          licensed", Entry{Name: "licensed", MTime: minute("2000-04-27 12:09"), Type: Dir}},
		{"04-14-00  03:47PM                  589 readme.htm", Entry{Name: "readme.htm", Size: 589, MTime: minute("2000-04-14 15:47"), Type: File}},
		{"07-18-19  12:00AM             15234567 DOBR2018.DBC", Entry{Name: "DOBR2018.DBC", Size: 15234567, MTime: minute("2019-07-18 00:00"), Type: File}},
		{"08-07-2015  07:50PM                  718 Post_PRR_20150901.dat", Entry{Name: "Post_PRR_20150901.dat", Size: 718, MTime: minute("2015-08-07 19:50"), Type: File}},
		{"08-10-2015  02:04PM       <DIR>          Billing", Entry{Name: "Billing", MTime: minute("2015-08-10 14:04"), Type: Dir}},
		{"12-31-69  11:59PM                    1 x", Entry{Name: "x", Size: 1, MTime: minute("2069-12-31 23:59"), Type: File}},
		{"12-31-70  11:59PM                    1 x", Entry{Name: "x", Size: 1, MTime: minute("1970-12-31 23:59"), Type: File}},
		{"02-29-24  10:00AM                    1 leap", Entry{Name: "leap", Size: 1, MTime: minute("2024-02-29 10:00"), Type: File}},
		// Its "24 hours" option, dir of cmd.exe, and imitations
		{"2002-09-02  18:48       <DIR>          longyear", Entry{Name: "longyear", MTime: minute("2002-09-02 18:48"), Type: Dir}},
		{"2002-09-02  19:06                9,730 longyear", Entry{Name: "longyear", Size: 9730, MTime: minute("2002-09-02 19:06"), Type: File}},
		{"2002-09-02  19:06            1.009.730 dots", Entry{Name: "dots", Size: 1009730, MTime: minute("2002-09-02 19:06"), Type: File}},
		{"2002-09-02  19:06            1\xa0009\xa0730 hard spaces", Entry{Name: "hard spaces", Size: 1009730, MTime: minute("2002-09-02 19:06"), Type: File}},
		{"10/23/2000  07:50 PM            12,345 dir.txt", Entry{Name: "dir.txt", Size: 12345, MTime: minute("2000-10-23 19:50"), Type: File}},
		{"10/23/2000  07:50:12                 5 seconds", Entry{Name: "seconds", Size: 5, MTime: utc("2000-10-23 07:50:12", 1), Type: File}},
		{"23.10.2000  07:50    <DIR>          german", Entry{Name: "german", MTime: minute("2000-10-23 07:50"), Type: Dir}},
		{"04-23-103  10:57                     5 os2", Entry{Name: "os2", Size: 5, MTime: minute("2003-04-23 10:57"), Type: File}},
		{"11-02-98  12:09a                   5 pcnfs", Entry{Name: "pcnfs", Size: 5, MTime: minute("1998-11-02 00:09"), Type: File}},
		// Sizes
		{"04-14-00  03:47PM        0000000000589 zeros", Entry{Name: "zeros", Size: 589, MTime: minute("2000-04-14 15:47"), Type: File}},
		{"04-14-00  03:47PM                   -1 negative", Entry{Name: "negative", Size: -1, MTime: minute("2000-04-14 15:47"), Type: File}},
		{"04-14-00  03:47PM 99999999999999999999 huge", Entry{Name: "huge", Size: -1, MTime: minute("2000-04-14 15:47"), Type: File}},
		// Names: one space after a size, "<DIR>" padded to 15 columns
		{"04-14-00  03:47PM                  589   lead and trail ", Entry{Name: "  lead and trail ", Size: 589, MTime: minute("2000-04-14 15:47"), Type: File}},
		{"04-27-00  12:09PM       <DIR>            lead and trail ", Entry{Name: "  lead and trail ", MTime: minute("2000-04-27 12:09"), Type: Dir}},
		{"04-27-00  12:09PM <DIR> short", Entry{Name: "short", MTime: minute("2000-04-27 12:09"), Type: Dir}},
		{"04-27-00  12:09PM       <dir>          lower", Entry{Name: "lower", MTime: minute("2000-04-27 12:09"), Type: Dir}},
		// Links: relative targets are links, others are what they lead to
		{"04-27-00  12:09PM       <JUNCTION>     data [C:\\Shares\\data]", Entry{Name: "data", MTime: minute("2000-04-27 12:09"), Type: Dir}},
		{"04-27-00  12:09PM       <JUNCTION>     data", Entry{Name: "data", MTime: minute("2000-04-27 12:09"), Type: Dir}},
		{"04-27-00  12:09PM       <SYMLINKD>     data [..\\other\\data]", Entry{Name: "data", Target: "../other/data", MTime: minute("2000-04-27 12:09"), Type: Symlink}},
		{"04-27-00  12:09PM       <SYMLINKD>     share [\\\\server\\share]", Entry{Name: "share", MTime: minute("2000-04-27 12:09"), Type: Dir}},
		{"04-27-00  12:09PM       <SYMLINK>      now [1].txt [old.txt]", Entry{Name: "now [1].txt", Target: "old.txt", MTime: minute("2000-04-27 12:09"), Type: Symlink}},
		{"04-27-00  12:09PM       <SYMLINK>      far [D:\\old.txt]", Entry{Name: "far", Size: -1, MTime: minute("2000-04-27 12:09"), Type: File}},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			sameEntry(t, one(t, Parser{}, tt.text), tt.want)
		})
	}
}

func TestDayFirst(t *testing.T) {
	lines := func(dates ...string) string {
		var b strings.Builder
		for i, d := range dates {
			b.WriteString(d + "  10:00                  589 " + string(rune('a'+i)) + "\r\n")
		}
		return b.String()
	}
	tests := []struct {
		dates []string
		want  []string
	}{
		{[]string{"04-05-20"}, []string{"2020-04-05"}},
		{[]string{"04-05-20", "04-13-20", "06-05-20"}, []string{"2020-04-05", "2020-04-13", "2020-06-05"}},
		// The third line shows that the day comes first.
		{[]string{"04-05-20", "06-06-20", "13-04-20", "07-08-20"}, []string{"2020-05-04", "2020-06-06", "2020-04-13", "2020-08-07"}},
		{[]string{"2020-05-04", "04-05-20", "2020-05-13"}, []string{"2020-05-04", "2020-04-05", "2020-05-13"}},
		{[]string{"04-13-20", "13-04-20", "04-05-20"}, []string{"2020-04-13", "2020-04-13", "2020-04-05"}},
	}
	for _, tt := range tests {
		l, _ := parse(t, Parser{}, lines(tt.dates...))
		if len(l.Entries) != len(tt.want) {
			t.Fatalf("%v: %+v", tt.dates, l)
		}
		for i, e := range l.Entries {
			if e.MTime != utc(tt.want[i]+" 10:00:00", 60) {
				t.Errorf("%v: %s is %v, want %s", tt.dates, tt.dates[i], e.MTime, tt.want[i])
			}
		}
	}
	// A withdrawn entry is not mended later on.
	l, _ := parse(t, Parser{}, lines("01-02-20")+"04-05-20  10:00  589 half\nother half\r\n"+lines("13-04-20"))
	if len(l.Entries) != 1 || l.Unparsed != 2 || l.Entries[0].MTime != utc("2020-04-13 10:00:00", 60) {
		t.Errorf("%+v", l)
	}
}
