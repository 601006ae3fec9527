package ftppool

import (
	"bytes"
	"io/fs"
	"slices"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

var profiles = []ftptest.Profile{ftptest.Vsftpd(), ftptest.ProFTPD(), ftptest.PureFTPd(), ftptest.DATASUS()}

func TestListStatOpen(t *testing.T) {
	when := time.Date(2024, 5, 17, 12, 34, 0, 0, time.UTC)
	for i, profile := range append(profiles, profiles...) {
		t.Run(profile.Name, func(t *testing.T) {
			sequential := i >= len(profiles)
			tree := ftptest.NewTree()
			tree.WriteFile("pub/a b.txt", []byte("hello"), when)
			tree.Generate("pub/big.bin", 3<<20, 7, when)
			tree.Mkdir("pub/sub", when)
			tree.Mkdir("pub/empty", when)
			s := ftptest.New(t, ftptest.Options{Profile: profile, Tree: tree})
			p := newPool(t, s, func(c *Config) {
				c.Root = "pub"
				c.Profile = &Profile{Learned: true, EPSV: true, Pipelining: !sequential}
			})
			if err := p.Connect(patience(t)); err != nil {
				t.Fatal(err)
			}
			farAway(p)
			l := mustList(t, p, "")
			if got, want := names(l), []string{"a b.txt", "big.bin", "empty", "sub"}; !slices.Equal(got, want) {
				t.Fatalf("listed %q, want %q", got, want)
			}
			for _, e := range l.Entries {
				if e.Raw != "a b.txt" {
					continue
				}
				if e.Size != 5 || e.Type != listing.File || !e.MTime.Meets(listing.Exactly(when)) {
					t.Errorf("listed as %+v", e)
				}
			}
			if l := mustList(t, p, "empty"); len(l.Entries) != 0 || l.Unparsed != 0 {
				t.Errorf("the empty directory has %+v", l)
			}
			e, err := p.Stat(patience(t), lookup, "a b.txt")
			if err != nil || e.Size != 5 || e.Type != listing.File || e.MTime != listing.Exactly(when) || e.Name != "a b.txt" {
				t.Errorf("stat: %+v, %v", e, err)
			}
			if e, err := p.Stat(patience(t), lookup, "sub"); err != nil || e.Type != listing.Dir {
				t.Errorf("stat of a directory: %+v, %v", e, err)
			}
			_, err = p.Stat(patience(t), lookup, "nope")
			isError(t, err, fs.ErrNotExist)
			_, err = p.List(patience(t), lookup, "nope")
			isError(t, err, fs.ErrNotExist)
			_, err = p.Open(patience(t), read, "nope", 0)
			isError(t, err, fs.ErrNotExist)
			_, err = p.Open(patience(t), read, "sub", 0)
			isError(t, err, ErrIsDir)
			want := tree.ReadFile("pub/big.bin")
			if !bytes.Equal(readAll(t, p, "big.bin", 0), want) {
				t.Error("wrong bytes")
			}
			if !bytes.Equal(readAll(t, p, "big.bin", 1234567), want[1234567:]) {
				t.Error("wrong bytes from an offset")
			}
			if !p.CanRestart("big.bin") {
				t.Error("REST is not proven")
			}
			if s.MaxSessions() != 1 {
				t.Errorf("%d sessions for one request at a time", s.MaxSessions())
			}
			if c := s.Changed(); len(c) > 0 {
				t.Errorf("changing commands: %v", c)
			}
		})
	}
}
