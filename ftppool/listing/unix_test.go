package listing

import (
	"testing"
	"time"
)

func TestUnixLines(t *testing.T) {
	at := time.Date(2017, 3, 10, 23, 0, 0, 0, time.UTC)
	minute := func(s string) Interval { return utc(s+":00", 60) }
	tests := []struct {
		text string
		want Entry
	}{
		// vsftpd, proftpd, pure-ftpd, wu-ftpd
		{"-rw-r--r--    1 0        0           12345 Jan 20 10:11 sized.bin", Entry{Name: "sized.bin", Size: 12345, MTime: minute("2017-01-20 10:11"), Type: File}},
		{"-rw-r--r--   1 root     root     5368709120 Nov 20  2015 big.bin", Entry{Name: "big.bin", Size: 5 << 30, MTime: day("2015-11-20"), Type: File}},
		{"-rw-r--r--    1 0          0                   0 Jan  1  1970 epoch", Entry{Name: "epoch", MTime: day("1970-01-01"), Type: File}},
		{"drwxr-xr-x    3 110      1002            3 Dec 02  2009 pub", Entry{Name: "pub", MTime: day("2009-12-02"), Type: Dir}},
		{"lrwxrwxrwx   1 root     other          7 Jan 25 00:17 bin -> usr/bin", Entry{Name: "bin", Target: "usr/bin", MTime: minute("2017-01-25 00:17"), Type: Symlink}},
		{"lrwxrwxrwx    1 0        1001           27 Jul 07  2016 R-3.4.0.pkg -> el-capitan/base/R-3.4.0.pkg", Entry{Name: "R-3.4.0.pkg", Target: "el-capitan/base/R-3.4.0.pkg", MTime: day("2016-07-07"), Type: Symlink}},
		// SELinux, ACLs, extended attributes, setuid and sticky bits
		{"-rwxrw-r--+  1 521      101         2080 Feb 21 10:53 data.csv", Entry{Name: "data.csv", Size: 2080, MTime: minute("2017-02-21 10:53"), Type: File}},
		{"-rw-r--r--.  1 0 0 7 Feb 21 10:53 data.csv", Entry{Name: "data.csv", Size: 7, MTime: minute("2017-02-21 10:53"), Type: File}},
		{"drwxrwsr-t@  1 0 0 7 Feb 21 10:53 data", Entry{Name: "data", MTime: minute("2017-02-21 10:53"), Type: Dir}},
		{"drwxrwxrwt   14 0        0             380 Feb 13 05:51 tmp", Entry{Name: "tmp", MTime: minute("2017-02-13 05:51"), Type: Dir}},
		// Columns that are missing, or have spaces in them
		{"dr-xr-xr-x   2 root                  512 Apr  8  1994 nogroup", Entry{Name: "nogroup", MTime: day("1994-04-08"), Type: Dir}},
		{"-rw-r--r--   1 0        174088372 Feb 09 02:00 A16011.20180828.csv", Entry{Name: "A16011.20180828.csv", Size: 174088372, MTime: minute("2017-02-09 02:00"), Type: File}},
		{"-rw-r--r--   1 group domain user 531 Jan 29 03:26 domain", Entry{Name: "domain", Size: 531, MTime: minute("2017-01-29 03:26"), Type: File}},
		{"-rw-r--r--   1 NT AUTHORITY\\SYSTEM BUILTIN Users 531 Jan 29 03:26 domain", Entry{Name: "domain", Size: 531, MTime: minute("2017-01-29 03:26"), Type: File}},
		{"-rw-r--r--   1 May 12 2009 Jan 29 03:26 owner May, group 12", Entry{Name: "owner May, group 12", Size: 2009, MTime: minute("2017-01-29 03:26"), Type: File}},
		{"-rw-r--r--   1 a b Jan 12 2009 c 531 Jan 29 03:26 owner with a date", Entry{Name: "owner with a date", Size: 531, MTime: minute("2017-01-29 03:26"), Type: File}},
		{"drwxr-xr-x               folder        0 Aug 15 05:49 !!!-Tipp des Haus!", Entry{Name: "!!!-Tipp des Haus!", MTime: minute("2016-08-15 05:49"), Type: Dir}},
		{"-------r--         326  1391972  1392298 Nov 22  1995 netpresenz", Entry{Name: "netpresenz", Size: 1392298, MTime: day("1995-11-22"), Type: File}},
		{"-r--------   0 user group     65222236 Feb 24 00:39 RegularFile", Entry{Name: "RegularFile", Size: 65222236, MTime: minute("2017-02-24 00:39"), Type: File}},
		// Microsoft in its Unix style, WFTPD
		{"----------   1 owner    group         1803128 Feb 10 10:18 ls-lR.Z", Entry{Name: "ls-lR.Z", Size: 1803128, MTime: minute("2017-02-10 10:18"), Type: File}},
		{"d---------   1 owner    group               0 Nov  9 19:45 Softlib", Entry{Name: "Softlib", MTime: minute("2016-11-09 19:45"), Type: Dir}},
		{"-rwxrwxrwx   1 noone    nogroup      322 Aug 19  1996 message.ftp", Entry{Name: "message.ftp", Size: 322, MTime: day("1996-08-19"), Type: File}},
		// NetWare
		{"d [R----F--] supervisor            512       Jan 16 18:53    login", Entry{Name: "login", MTime: minute("2017-01-16 18:53"), Type: Dir}},
		{"- [R----F--] rhesus             214059       Feb 20 15:27    cx.exe", Entry{Name: "cx.exe", Size: 214059, MTime: minute("2017-02-20 15:27"), Type: File}},
		// Sizes
		{"-rw-r--r-- 1 0 0 0000012345 Jan 20 10:11 zeros", Entry{Name: "zeros", Size: 12345, MTime: minute("2017-01-20 10:11"), Type: File}},
		{"-rw-r--r-- 1 0 0 0777 Jan 20 10:11 not octal", Entry{Name: "not octal", Size: 777, MTime: minute("2017-01-20 10:11"), Type: File}},
		{"-rw-r--r-- 1 0 0 -2147483648 Jan 20 10:11 32 bits", Entry{Name: "32 bits", Size: -1, MTime: minute("2017-01-20 10:11"), Type: File}},
		{"-rw-r--r--        0   18446744073709551615 18446744073709551615 Nov 16  2006 VIDEO_TS.VOB", Entry{Name: "VIDEO_TS.VOB", Size: -1, MTime: day("2006-11-16"), Type: File}},
		{"-rw-r--r-- 1 0 0 9223372036854775807 Jan 20 10:11 huge", Entry{Name: "huge", Size: -1, MTime: minute("2017-01-20 10:11"), Type: File}},
		{"-r-xr-xr-x longowner longgroup123456 Feb 12 17:20 grown", Entry{Name: "grown", Size: -1, MTime: minute("2017-02-12 17:20"), Type: File}},
		{"-rw-r--r--   1 root     other  34.5k Feb 5 21:22 kilobytes", Entry{Name: "kilobytes", Size: -1, MTime: minute("2017-02-05 21:22"), Type: File}},
		// Names
		{"-rwxr-xr-x    3 110      1002            1234567 Dec 02  2009  foo bar ", Entry{Name: " foo bar ", Size: 1234567, MTime: day("2009-12-02"), Type: File}},
		{"drwxr-xr-x    3 110      1002            3 Dec 02  2009 spaces   dir   name", Entry{Name: "spaces   dir   name", MTime: day("2009-12-02"), Type: Dir}},
		{"-rw-r--r-- 1 0 0 1 Jan 20 10:11   ", Entry{Name: "  ", Size: 1, MTime: minute("2017-01-20 10:11"), Type: File}},
		{"-rw-r--r-- 1 0 0 1 Jan 20 10:11 5 Feb 02 2010 Mar 03 2011 x", Entry{Name: "5 Feb 02 2010 Mar 03 2011 x", Size: 1, MTime: minute("2017-01-20 10:11"), Type: File}},
		{"-rw-r--r-- 1 0 1 Jan 20 10:11 5 Feb 02 2010", Entry{Name: "5 Feb 02 2010", Size: 1, MTime: minute("2017-01-20 10:11"), Type: File}},
		{"-rw-r--r-- 1 0 0 1 Jan 20 10:11 type=dir; x", Entry{Name: "type=dir; x", Size: 1, MTime: minute("2017-01-20 10:11"), Type: File}},
		{"-rw-r--r-- 1 0 0 1 Jan 20 10:11 -", Entry{Name: "-", Size: 1, MTime: minute("2017-01-20 10:11"), Type: File}},
		{"-rw-r--r-- 1 0 0 1 Jan 20 10:11 a -> b", Entry{Name: "a -> b", Size: 1, MTime: minute("2017-01-20 10:11"), Type: File}},
		{"drwxr-xr-x 1 0 0 1 Jan 20 10:11 pub/", Entry{Name: "pub", MTime: minute("2017-01-20 10:11"), Type: Dir}},
		// Links
		{"lrwxrwxrwx 1 0 0 6 Jan 20 10:11 a -> l -> b -> c", Entry{Name: "a -> l", Target: "b -> c", MTime: minute("2017-01-20 10:11"), Type: Symlink}},
		{"lrwxrwxrwx 1 0 0 1 Jan 20 10:11 a -> l -> b -> c", Entry{Name: "a -> l -> b", Target: "c", MTime: minute("2017-01-20 10:11"), Type: Symlink}},
		{"lrwxrwxrwx 1 0 0 0 Jan 20 10:11 a -> l -> b", Entry{Name: "a", Target: "l -> b", MTime: minute("2017-01-20 10:11"), Type: Symlink}},
		{"lrwxrwxrwx 1 0 0 999 Jan 20 10:11 a -> b", Entry{Name: "a", Target: "b", MTime: minute("2017-01-20 10:11"), Type: Symlink}},
		{"lrwxrwxrwx 1 0 0 11 Jan 20 10:11 passwd -> /etc/passwd", Entry{Name: "passwd", Target: "/etc/passwd", MTime: minute("2017-01-20 10:11"), Type: Symlink}},
		{"lrwxrwxrwx 1 0 0 7 Jan 20 10:11 hidden", Entry{Name: "hidden", MTime: minute("2017-01-20 10:11"), Type: Symlink}},
		{"lrwxrwxrwx 1 0 0 0 Jan 20 10:11 empty -> ", Entry{Name: "empty", MTime: minute("2017-01-20 10:11"), Type: Symlink}},
		// Dates of other countries and options
		{"-rw-r--r-- 1 0 0 5 2005-06-07 21:22 long-iso", Entry{Name: "long-iso", Size: 5, MTime: minute("2005-06-07 21:22"), Type: File}},
		{"-rw-r--r-- 1 0 0 5 2005-06-07 21:22:23.000000000 +0200 full-iso", Entry{Name: "full-iso", Size: 5, MTime: utc("2005-06-07 19:22:23", 1), Type: File}},
		{"-rw-r--r-- 1 0 0 5 2005-06-07 21:22:23.5 -0330 full-iso", Entry{Name: "full-iso", Size: 5, MTime: utc("2005-06-08 00:52:23", 1), Type: File}},
		{"-rw-r--r-- 1 0 0 5 2005-06-07 21:22:23 +0200", Entry{Name: "+0200", Size: 5, MTime: utc("2005-06-07 21:22:23", 1), Type: File}},
		{"-rw-r--r-- 1 0 0 5 2005-06-07  12:30", Entry{Name: "12:30", Size: 5, MTime: day("2005-06-07"), Type: File}},
		{"-rw-r--r-- 1 0 0 5 2005-06-07  iso", Entry{Name: "iso", Size: 5, MTime: day("2005-06-07"), Type: File}},
		{"-rw-r--r-- 1 0 0 5 01-20 13:45 iso", Entry{Name: "iso", Size: 5, MTime: minute("2017-01-20 13:45"), Type: File}},
		{"-rw-r--r-- 1 0 0 5 09-26 2000 unix-date", Entry{Name: "unix-date", Size: 5, MTime: day("2000-09-26"), Type: File}},
		{"-rw-r--r-- 1 0 0 5 1999/10/12 17:12 slashes", Entry{Name: "slashes", Size: 5, MTime: minute("1999-10-12 17:12"), Type: File}},
		{"-rw-r--r-- 1 0 0 5 Jan 29 03:26:11 2009 bsd", Entry{Name: "bsd", Size: 5, MTime: utc("2009-01-29 03:26:11", 1), Type: File}},
		{"-rw-r--r-- 1 0 0 5 Jan 29 03:26:11 seconds", Entry{Name: "seconds", Size: 5, MTime: utc("2017-01-29 03:26:11", 1), Type: File}},
		{"-rw-r--r-- 1 0 0 29 29 Jan 03:26 day first", Entry{Name: "day first", Size: 29, MTime: minute("2017-01-29 03:26"), Type: File}},
		{"-rw-r--r-- 1 0 0 29 29 Jan 2009 day first", Entry{Name: "day first", Size: 29, MTime: day("2009-01-29"), Type: File}},
		{"dr-xr-xr-x   2 root     other      2235 26. Juli, 20:10 german", Entry{Name: "german", MTime: minute("2016-07-26 20:10"), Type: Dir}},
		{"-r-xr-xr-x   2 root     other      2235 2.   Okt.  2003 german", Entry{Name: "german", Size: 2235, MTime: day("2003-10-02"), Type: File}},
		{"-rw-r--r-- 1 0 0 5 Dez 29 03:26 português", Entry{Name: "português", Size: 5, MTime: minute("2016-12-29 03:26"), Type: File}},
		{"-rw-r--r-- 1 0 0 5 JAN 29 3:26 upper", Entry{Name: "upper", Size: 5, MTime: minute("2017-01-29 03:26"), Type: File}},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			sameEntry(t, one(t, Parser{Now: at}, tt.text), tt.want)
		})
	}
}

func TestYearLeftOut(t *testing.T) {
	tests := []struct{ now, line, want string }{
		{"2017-03-10 23:00", "Feb 10 23:00", "2017-02-10 23:00"},
		{"2017-03-10 23:00", "Mar 10 23:00", "2017-03-10 23:00"},
		{"2017-03-10 23:00", "Mar 12 22:59", "2017-03-12 22:59"}, // clocks differ
		{"2017-03-10 23:00", "Mar 12 23:01", "2016-03-12 23:01"},
		{"2017-03-10 23:00", "Sep 10 23:00", "2016-09-10 23:00"},
		// around New Year
		{"2026-01-01 00:05", "Dec 31 23:59", "2025-12-31 23:59"},
		{"2026-01-01 00:05", "Jan  1 00:04", "2026-01-01 00:04"},
		{"2025-12-31 23:00", "Jan  1 04:00", "2026-01-01 04:00"}, // a server east of here
		{"2025-12-31 23:00", "Jan 31 04:00", "2025-01-31 04:00"},
		{"2025-12-30 00:00", "Jan  1 01:00", "2025-01-01 01:00"},
		// Feb 29 exists in leap years only
		{"2024-03-01 00:00", "Feb 29 10:00", "2024-02-29 10:00"},
		{"2024-02-28 12:00", "Feb 29 10:00", "2024-02-29 10:00"},
		{"2024-02-20 12:00", "Feb 29 10:00", "2020-02-29 10:00"},
		{"2025-01-15 00:00", "Feb 29 10:00", "2024-02-29 10:00"},
		{"2104-01-15 00:00", "Feb 29 10:00", "2096-02-29 10:00"}, // 2100 is none
	}
	for _, tt := range tests {
		at, err := time.Parse("2006-01-02 15:04", tt.now)
		if err != nil {
			t.Fatal(err)
		}
		got := one(t, Parser{Now: at}, "-rw-r--r-- 1 0 0 5 "+tt.line+" x").MTime
		if want := utc(tt.want+":00", 60); got != want {
			t.Errorf("now %s: %s is %s, want %s", tt.now, tt.line, time.Unix(got.Min, 0).UTC(), tt.want)
		}
	}
	p := Parser{Now: time.Date(2025, 12, 30, 0, 30, 0, 0, time.UTC).In(location(t, "Pacific/Honolulu"))}
	if got, want := one(t, p, "-rw-r--r-- 1 0 0 5 Jan  1 00:10 x").MTime, utc("2026-01-01 00:10:00", 60); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	// Whatever the zones of the server and of this machine.
	for _, zone := range []string{"Pacific/Honolulu", "Pacific/Kiritimati"} {
		p := Parser{Now: time.Date(2026, 1, 1, 2, 0, 0, 0, time.UTC).In(location(t, "Asia/Tokyo")), Location: location(t, zone)}
		wall := p.Now.In(p.Location).Format("Jan _2 15:04")
		if got, want := one(t, p, "-rw-r--r-- 1 0 0 5 "+wall+" x").MTime, utc("2026-01-01 02:00:00", 60); got != want {
			t.Errorf("%s: got %v, want %v", zone, got, want)
		}
	}
}

func location(t testing.TB, name string) *time.Location {
	t.Helper()
	l, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLocation(t *testing.T) {
	at := time.Date(2018, 3, 1, 0, 0, 0, 0, time.UTC)
	paulo := location(t, "America/Sao_Paulo") // UTC-3, -2 from 2017-10-15 to 2018-02-18
	tests := []struct {
		date string
		want Interval
	}{
		{"Jan 10 10:00", utc("2018-01-10 12:00:00", 60)},
		{"Feb 28 10:00", utc("2018-02-28 13:00:00", 60)},
		{"Jul 10  2017", utc("2017-07-10 03:00:00", 86400)},
		{"Feb 17 22:59", utc("2018-02-18 00:59:00", 60)},
		// Clocks went from 24:00 back to 23:00: the hour happened twice.
		{"Feb 17 23:30", utc("2018-02-18 01:30:00", 3660)},
		{"Feb 18 00:00", utc("2018-02-18 03:00:00", 60)},
		{"Feb 17  2018", utc("2018-02-17 02:00:00", 25*3600)},
		// Clocks went from 0:00 to 1:00: the hour never happened.
		{"Oct 15 00:30", utc("2017-10-15 02:30:00", 3660)},
		{"Oct 15 01:00", utc("2017-10-15 03:00:00", 60)},
	}
	for _, tt := range tests {
		got := one(t, Parser{Now: at, Location: paulo}, "-rw-r--r-- 1 0 0 5 "+tt.date+" x").MTime
		if got != tt.want {
			t.Errorf("%s: %s to %s, want %s to %s", tt.date, time.Unix(got.Min, 0).UTC(), time.Unix(got.Max, 0).UTC(),
				time.Unix(tt.want.Min, 0).UTC(), time.Unix(tt.want.Max, 0).UTC())
		}
	}
	// With the zone known a date is a day, no more; MLSD is UTC in any zone.
	if got, want := one(t, Parser{Location: time.UTC}, "-rw-r--r-- 1 0 0 5 Dec 02  2009 x").MTime, utc("2009-12-02 00:00:00", 86400); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := one(t, Parser{Location: paulo}, "type=file;modify=20180110120000; x").MTime, utc("2018-01-10 12:00:00", 1); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A date read in an unknown zone holds the true time, whatever the zone is,
// before and after it is shifted.
func TestDateInUnknownZone(t *testing.T) {
	for offset := -12 * 3600; offset <= 14*3600; offset += 900 {
		zone := time.FixedZone("", offset)
		for _, clock := range []string{"00:00:00", "12:34:56", "23:59:59"} {
			truth, err := time.ParseInLocation("2006-01-02 15:04:05", "2009-12-02 "+clock, zone)
			if err != nil {
				t.Fatal(err)
			}
			got := one(t, Parser{}, "-rw-r--r-- 1 0 0 5 Dec 02  2009 x").MTime
			shifted := got.Shift(time.Duration(-offset) * time.Second)
			if !got.Meets(Exactly(truth)) || !shifted.Meets(Exactly(truth)) {
				t.Fatalf("%s is not within %v, or not within %v", truth, got, shifted)
			}
		}
	}
}
