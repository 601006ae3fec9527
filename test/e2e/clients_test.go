package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// client is a program people read their data with.
type client struct {
	name string
	// words is the command that reads root and prints what it got. It may write
	// below scratch; what it wrote there is compared too.
	words func(root, scratch string) []string
}

// clients are the programs that must not notice that a folder is a mirror.
func clients(t testing.TB) []client {
	py := python(t)
	tables := func(way string) client {
		return client{way, func(root, _ string) []string { return []string{py, "clients/tables.py", way, root + "/tables"} }}
	}
	r := func(way string) client {
		return client{"R " + way, func(root, _ string) []string {
			return []string{"Rscript", "--vanilla", "clients/tables.R", way, root + "/tables"}
		}}
	}
	shell := func(name, script string) client {
		return client{name, func(root, scratch string) []string {
			return []string{"sh", "-euc", "cd \"$1\"\n" + script, "sh", root, scratch}
		}}
	}
	all := []client{
		tables("pandas_csv"), tables("pandas_parquet"), tables("pyarrow_read"), tables("pyarrow_memory_map"),
		tables("duckdb_glob"), tables("zip_members"),
		r("read.csv"), r("fread"), r("read.dbf"),
		shell("grep -r", `grep -r "number 77$" text | sort; grep -rc fox text | sort; grep -rL fox . | sort`),
		shell("cp -r", `cp -r . "$2/copy"`),
		shell("cp --sparse=always", `cp -r --sparse=always . "$2/copy"`),
		shell("rsync -a", `rsync -a ./ "$2/copy"; rsync -ani ./ "$2/copy"`),
		shell("tar", `tar -cf - . | tar -xf - -C "$2"`),
		shell("tar -S", `tar -cSf - . | tar -xf - -C "$2"`),
		shell("reproducible tar", `tar --sort=name --mtime=@0 --owner=0 --group=0 --mode=u=rwX,go= -cf - . | sha256sum`),
		shell("dd, wc, file heads", `for f in */*.*; do wc -c <"$f"; head -c 100 "$f" | sha256sum; tail -c 100 "$f" | sha256sum; done; dd if=text/large.bin bs=4093 skip=1000 count=99 status=none | sha256sum`),
	}
	if dbc, _ := filepath.Glob(filepath.Join(repository, "../shared/dbc/*.dbc")); len(dbc) > 0 {
		all = append(all, tables("pyreaddbc"))
	}
	return all
}

// states are how much of the files is in the cache when a client reads them.
var states = []struct {
	name    string
	shown   string // what the beginning of user.mirrorfs.state is then
	prepare func(t *testing.T, m *mounted, f *fixture) *mounted
}{
	{"uncached", "remote", func(t *testing.T, m *mounted, f *fixture) *mounted { return m }},
	{"part cached", "partial ", func(t *testing.T, m *mounted, f *fixture) *mounted {
		m.unmount()
		// Nothing is fetched beyond what is read here.
		p := m.place
		m = p.mount(m.url, "--whole-file-below", "0")
		for _, file := range f.files {
			readHereAndThere(t, m.path(file.path), file)
		}
		m.unmount()
		return p.mount(m.url)
	}},
	{"cached", "cached", func(t *testing.T, m *mounted, f *fixture) *mounted {
		for _, file := range f.files {
			same(t, m.path(file.path), file.content)
		}
		return m
	}},
}

// readHereAndThere reads pieces of a file that lie apart.
func readHereAndThere(t *testing.T, path string, file file) {
	t.Helper()
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	size := file.content.Size()
	for _, eighth := range []int64{0, 5, 2, 7} {
		at := size / 8 * eighth
		sameRange(t, in, file.content, at, int(min(size-at, 64<<10)))
	}
}

// TestClients: what real programs make of a mount is what they make of a local
// copy, whether its files are uncached, cached in part or cached.
func TestClients(t *testing.T) {
	f := tables(t)
	local := f.disk(t)
	truth := map[string]string{}
	for _, c := range clients(t) {
		truth[c.name] = c.run(t, local)
	}
	checkDecoded(t, truth["pyreaddbc"])
	for _, kind := range []string{"vsftpd", "datasus"} {
		s := serve(t, kind, f, options{})
		for _, state := range states {
			for _, c := range clients(t) {
				if kind == "datasus" && state.name != "part cached" {
					continue // what differs between servers is how files come; this has both kinds
				}
				t.Run(fmt.Sprintf("%s/%s/%s", kind, state.name, c.name), func(t *testing.T) {
					m := newPlace(t, plain).mount(s.url(""))
					m = state.prepare(t, m, f)
					for _, path := range []string{"tables/table.csv", "text/large.bin"} {
						until(t, patience, path+" is "+state.shown, func() bool { return strings.HasPrefix(m.state(path), state.shown) })
					}
					if got := c.run(t, m.dir); got != truth[c.name] {
						t.Error(difference(got, truth[c.name]))
					}
					m.settled()
				})
			}
		}
	}
}

// state is how much of a file the mount says it holds.
func (m *mounted) state(path string) string {
	value := make([]byte, 256)
	n, err := unix.Getxattr(m.path(path), "user.mirrorfs.state", value)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(value[:n])
}

// run returns all that a client printed and wrote. The folder's own path is
// left out of it.
func (c client) run(t *testing.T, root string) string {
	t.Helper()
	scratch := filepath.Join(sandbox(t), "scratch")
	if err := os.Mkdir(scratch, 0o700); err != nil {
		t.Fatal(err)
	}
	words := c.words(root, scratch)
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TZ=UTC", "OMP_NUM_THREADS=2")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil || errs.Len() > 0 {
		t.Fatalf("%s: %v\n%s", c.name, err, cut(errs.String()))
	}
	return strings.ReplaceAll(string(out), root, "ROOT") + manifest(t, scratch)
}

// checkDecoded compares the tables decoded from .dbc files with the sums that
// came with them.
func checkDecoded(t *testing.T, decoded string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(repository, "../shared/dbc/decoded.sha256"))
	if os.IsNotExist(err) {
		t.Log("no .dbc files at hand")
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		want, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		_, after, ok := strings.Cut("\n"+decoded, "\n"+strings.TrimSuffix(name, ".dbf")+" ")
		after, _, _ = strings.Cut(after, "\n")
		if !ok || !strings.Contains(after, want) {
			t.Errorf("%s decoded to %q, want %s", name, after, want)
		}
	}
}

// difference shows the lines that only one of two outputs has.
func difference(mount, local string) string {
	only := func(a, b string) string {
		var lines []string
		for line := range strings.Lines(a) {
			if !strings.Contains("\n"+b, "\n"+line) {
				lines = append(lines, line)
			}
		}
		return cut(strings.Join(lines, ""))
	}
	return "only on the mount:\n" + only(mount, local) + "only on a local copy:\n" + only(local, mount)
}

// cut shortens what a failure shows.
func cut(s string) string {
	if len(s) > 3000 {
		return s[:1500] + "\n...\n" + s[len(s)-1500:]
	}
	return s
}
