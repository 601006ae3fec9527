package listing

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func BenchmarkParse(b *testing.B) {
	zone := location(b, "America/Sao_Paulo")
	for name, format := range map[string]string{
		"unix": "-rw-r--r--   1 ftp      ftp      %8d Nov 20 10:11 DOBR%05d.dbc\r\n",
		"dos":  "07-18-19  12:00AM %20d DOBR%05d.dbc\r\n",
		"mlsd": "modify=20261120101112;perm=adfr;size=%d;type=file;unique=FE00U98C9B2;UNIX.mode=0644; DOBR%05d.dbc\r\n",
	} {
		b.Run(name, func(b *testing.B) {
			var text strings.Builder
			for i := range 50_000 {
				fmt.Fprintf(&text, format, i*37, i*7919%50_000)
			}
			b.SetBytes(int64(text.Len()))
			b.ReportAllocs()
			var l *Listing
			for b.Loop() {
				var err error
				if l, _, err = (Parser{Now: now, Location: zone}).Parse(strings.NewReader(text.String())); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(l.Cost())/float64(len(l.Entries)), "B/entry")
			b.ReportMetric(float64(b.Elapsed()/time.Duration(b.N))/float64(len(l.Entries)), "ns/line")
		})
	}
}
