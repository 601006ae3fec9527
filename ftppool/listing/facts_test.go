package listing

import "testing"

func TestFactsLines(t *testing.T) {
	tests := []struct {
		text string
		want Entry
	}{
		{"modify=20150806235817;perm=fle;type=dir;unique=1B20F360U4;UNIX.group=0;UNIX.mode=0755;UNIX.owner=0; movies", Entry{Name: "movies", MTime: utc("2015-08-06 23:58:17", 1), Type: Dir}},
		{"modify=20150813175250;perm=adfr;size=951;type=file;unique=119FBB87UE;UNIX.group=0;UNIX.mode=0644;UNIX.owner=0; welcome.msg", Entry{Name: "welcome.msg", Size: 951, MTime: utc("2015-08-13 17:52:50", 1), Type: File}},
		{"Modify=20150813175250;Perm=adfr;Size=951;Type=File; welcome.msg", Entry{Name: "welcome.msg", Size: 951, MTime: utc("2015-08-13 17:52:50", 1), Type: File}},
		{"Size=53248;Modify=20230327134339.000;Type=dir; Download", Entry{Name: "Download", MTime: utc("2023-03-27 13:43:39", 1), Type: Dir}},
		{"type=dir;sizd=4096;modify=20230327134339.999;UNIX.mode=0755; pub", Entry{Name: "pub", MTime: utc("2023-03-27 13:43:39", 1), Type: Dir}},
		// Some facts only
		{"type=file; x", Entry{Name: "x", Size: -1, MTime: Anytime(), Type: File}},
		{"type=file;size=; x", Entry{Name: "x", Size: -1, MTime: Anytime(), Type: File}},
		{"type=file;size=-5;modify=soon; x", Entry{Name: "x", Size: -1, MTime: Anytime(), Type: File}},
		{"perm=el;modify=20150813175250; x", Entry{Name: "x", MTime: utc("2015-08-13 17:52:50", 1), Type: Dir}},
		{"perm=adfrw;size=5; x", Entry{Name: "x", Size: 5, MTime: Anytime(), Type: File}},
		{"sizd=5; x", Entry{Name: "x", MTime: Anytime(), Type: Dir}},
		// Names, which begin after one space
		{"type=file;size=1;  lead and trail ", Entry{Name: " lead and trail ", Size: 1, MTime: Anytime(), Type: File}},
		{"type=file;size=1; semi;colon; a=b", Entry{Name: "semi;colon; a=b", Size: 1, MTime: Anytime(), Type: File}},
		{"type=file;size=1; type=dir; x", Entry{Name: "type=dir; x", Size: 1, MTime: Anytime(), Type: File}},
		// Links: proftpd, pure-ftpd, and with targets
		{"modify=20261120101112;perm=adfr;size=6;type=OS.unix=symlink;unique=FE00U98C9B4;UNIX.mode=0777; current", Entry{Name: "current", MTime: utc("2026-11-20 10:11:12", 1), Type: Symlink}},
		{"type=OS.unix=slink:;size=6;modify=20261120101112; current", Entry{Name: "current", MTime: utc("2026-11-20 10:11:12", 1), Type: Symlink}},
		{"type=OS.unix=slink:../Folder;size=6; current", Entry{Name: "current", Target: "../Folder", MTime: Anytime(), Type: Symlink}},
		{"Type=OS.UNIX=slink:my Tar get;Size=6; li nk", Entry{Name: "li nk", Target: "my Tar get", MTime: Anytime(), Type: Symlink}},
		{"type=OS.unix=slink:a;b;c;size=6; current", Entry{Name: "current", Target: "a;b;c", MTime: Anytime(), Type: Symlink}},
		// Against the letter of the standard
		{"  size=892;type=file;create=20230504151245;modify=20230622143434; file.xml", Entry{Name: "file.xml", Size: 892, MTime: utc("2023-06-22 14:34:34", 1), Type: File}},
		{"type=file;size=1 x", Entry{Name: "x", Size: 1, MTime: Anytime(), Type: File}},
		{"type=file;odd;size=1; x", Entry{Name: "x", Size: 1, MTime: Anytime(), Type: File}},
		{"type=file;size=1;modify=1912403270134; bad year", Entry{Name: "bad year", Size: 1, MTime: Anytime(), Type: File}},
		{"type=file;size=1;modify=191240327013459; y2k", Entry{Name: "y2k", Size: 1, MTime: utc("2024-03-27 01:34:59", 1), Type: File}},
		// EPLF
		{"+i8388621.48594,m825718503,r,s280,\tdjb.html", Entry{Name: "djb.html", Size: 280, MTime: Interval{825718503, 825718503}, Type: File}},
		{"+i8388621.50690,m824255907,/,\t514 dir", Entry{Name: "514 dir", MTime: Interval{824255907, 824255907}, Type: Dir}},
		{"+r,sx,mx,\t x", Entry{Name: " x", Size: -1, MTime: Anytime(), Type: File}},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			sameEntry(t, one(t, Parser{}, tt.text), tt.want)
		})
	}
}
