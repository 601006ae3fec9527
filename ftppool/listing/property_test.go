package listing

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// drawName draws a name that a server can hold and a listing can tell.
func drawName(t *rapid.T) string {
	chars := []string{"a", "B", "7", " ", "  ", ".", "-", "->", " -> ", "#", "%", ";", "; ", "=", "*", "[", "]", "\\", "\t", "é", "\xe9", "\x80", "日", ":", ",", "<DIR>", "Jan 01 2009"}
	s := strings.Join(rapid.SliceOfN(rapid.SampledFrom(chars), 1, 8).Draw(t, "name"), "")
	if CheckName(s) != nil {
		return "x"
	}
	return s
}

// drawEntries draws a directory; times are in whole minutes, none of them
// within the hours that a clock set back shows twice.
func drawEntries(t *rapid.T) []Entry {
	var es []Entry
	for _, raw := range rapid.SliceOfDistinct(rapid.Custom(drawName), rapid.ID).Draw(t, "names") {
		minute := now.Unix()/60 - rapid.Int64Range(0, 60*24*150).Draw(t, "age")
		e := Entry{Raw: raw, MTime: Interval{minute * 60, minute*60 + 59}, Type: rapid.SampledFrom([]Type{File, File, Dir, Symlink}).Draw(t, "type")}
		switch e.Type {
		case File:
			e.Size = rapid.Int64Range(0, maxSize).Draw(t, "size")
		case Symlink:
			e.Target = rapid.Custom(drawName).Draw(t, "target")
		}
		es = append(es, e)
	}
	return es
}

// formats write an entry as servers do.
var formats = map[string]func(e Entry, zone *time.Location) string{
	"vsftpd": func(e Entry, zone *time.Location) string {
		return formatUnix("%s    1 0        0        %8d %s %s", e, time.Unix(e.MTime.Min, 0).In(zone).Format("Jan 02 15:04"))
	},
	"proftpd": func(e Entry, zone *time.Location) string {
		return formatUnix("%s   1 ftp      ftp      %8d %s %s", e, time.Unix(e.MTime.Min, 0).In(zone).Format("Jan _2 15:04"))
	},
	"long-iso without group": func(e Entry, zone *time.Location) string {
		return formatUnix("%s. 1 some one %d %s %s", e, time.Unix(e.MTime.Min, 0).In(zone).Format("2006-01-02 15:04"))
	},
	"microsoft": func(e Entry, zone *time.Location) string {
		at := time.Unix(e.MTime.Min, 0).In(zone).Format("01-02-06  03:04PM")
		switch e.Type {
		case File:
			return fmt.Sprintf("%s %20d %s", at, e.Size, e.Raw)
		case Dir:
			return fmt.Sprintf("%s       <DIR>          %s", at, e.Raw)
		}
		return fmt.Sprintf("%s       <SYMLINKD>     %s [%s]", at, e.Raw, e.Target)
	},
	"mlsd": func(e Entry, _ *time.Location) string {
		typ := [...]string{File: "file", Dir: "dir", Symlink: "OS.unix=slink:" + e.Target}[e.Type]
		return fmt.Sprintf("size=%d;modify=%s;type=%s; %s", e.Size, time.Unix(e.MTime.Min, 0).UTC().Format("20060102150405"), typ, e.Raw)
	},
}

func formatUnix(format string, e Entry, at string) string {
	name, size := e.Raw, e.Size
	if e.Type == Symlink {
		name, size = e.Raw+" -> "+e.Target, int64(len(e.Target))
	}
	mode := [...]string{File: "-rw-r--r--", Dir: "drwxr-xr-x", Symlink: "lrwxrwxrwx"}[e.Type]
	return fmt.Sprintf(format, mode, size, at, name)
}

// What any server would write of any directory is read back as it is.
func TestFormatsRoundTrip(t *testing.T) {
	zones := []*time.Location{time.UTC, time.FixedZone("", -3*3600), time.FixedZone("", 5*3600+2700)}
	for name, format := range formats {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				zone := rapid.SampledFrom(zones).Draw(t, "zone")
				p := Parser{Now: now, Location: zone}
				var text strings.Builder
				want := map[string]Entry{}
				for _, e := range drawEntries(t) {
					switch {
					case e.Type == Symlink && name == "microsoft" && strings.ContainsAny(e.Raw+e.Target, `[]\:`):
						continue // can't be told apart from the brackets, or from a drive
					case e.Type == Symlink && name == "mlsd" && strings.ContainsAny(e.Target, "; "):
						continue // can't be told apart from the next fact
					}
					text.WriteString(format(e, zone) + "\r\n")
					if name == "mlsd" {
						e.MTime.Max = e.MTime.Min
					}
					want[e.Raw] = e
				}
				l, r, err := p.Parse(strings.NewReader(text.String()))
				if err != nil || l.Unparsed+r.Ignored+r.Merged > 0 || len(l.Entries) != len(want) {
					t.Fatalf("%d of %d entries, %v, %+v of\n%s", len(l.Entries), len(want), err, r, text.String())
				}
				for _, e := range l.Entries {
					w := want[e.Raw]
					w.Name = e.Name // tested on its own
					w.Target = p.Charset.Decode(w.Target, false)
					if e != w {
						t.Fatalf("got  %+v\nwant %+v\nof\n%s", e, w, text.String())
					}
				}
			})
		})
	}
}
