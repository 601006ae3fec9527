package e2e

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// repository is the root of the source tree.
const repository = "../.."

// python is the interpreter that has the modules the tests use.
func python(t testing.TB) string {
	t.Helper()
	p := os.Getenv("MIRRORFS_PYTHON")
	if p == "" {
		p = filepath.Join(repository, ".deps/venv/bin/python")
	}
	p, err := filepath.Abs(p)
	if err == nil {
		_, err = os.Stat(p)
	}
	if err != nil {
		t.Fatalf("no Python with pandas, pyarrow, duckdb and pyreaddbc: %v; scripts/test-deps.sh brings it, MIRRORFS_PYTHON names another", err)
	}
	return p
}

// tables makes the folder the clients read: CSV, parquet, dBase, a ZIP, text, a
// file with long runs of zeros, and the .dbc files where they are at hand.
func tables(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{}
	f.add("tables/table.csv", ftptest.Bytes(csvTable(200_000)))
	f.add("tables/sample.dbf", ftptest.Bytes(dbfTable(20_000)))
	f.add("tables/bundle.zip", ftptest.Bytes(zipBundle(t)))
	made := sandbox(t)
	if out, err := exec.Command(python(t), "clients/make_parquet.py", made).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f.load(t, "tables", filepath.Join(made, "*.parquet"))
	f.load(t, "tables", filepath.Join(repository, "../shared/dbc/*.dbc"))
	for i := range 40 {
		var b strings.Builder
		for line := range 500 {
			fmt.Fprintf(&b, "%d: the quick brown fox number %d\n", line, (line*7919+i*104729)%1000)
		}
		f.text(fmt.Sprintf("text/%d/note-%02d.txt", i%5, i), b.String())
	}
	f.dirs = append(f.dirs, "text/empty")
	f.add("text/zeros.bin", zeroRuns{8_000_000})
	f.add("text/large.bin", ftptest.Generated(20_000_000, 20))
	return f
}

// load adds files from the disk.
func (f *fixture) load(t testing.TB, folder, pattern string) {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		f.add(folder+"/"+filepath.Base(p), ftptest.Bytes(b))
	}
}

// csvTable is a table of numbers, dates and names, about 50 bytes a row.
func csvTable(rows int) []byte {
	var b bytes.Buffer
	b.WriteString("id,uf,date,value,name\n")
	ufs := []string{"SP", "RJ", "MG", "ES", "BA", "PE", "AM", "RS"}
	for i := range rows {
		day := epoch.AddDate(0, 0, i%3000)
		fmt.Fprintf(&b, "%d,%s,%s,%d.%02d,\"município %d, São\"\n", i, ufs[i*7%8], day.Format(time.DateOnly), i*7919%100_003, i%100, i*40503%99991)
	}
	return b.Bytes()
}

// dbfTable is a dBase III table as DATASUS has them inside its .dbc files.
func dbfTable(rows int) []byte {
	fields := []struct {
		name   string
		kind   byte
		length byte
	}{{"CODUFMUN", 'C', 6}, {"VALOR", 'N', 10}, {"NOME", 'C', 20}}
	width := 1
	var b bytes.Buffer
	head := make([]byte, 32)
	head[0], head[1], head[2], head[3] = 3, 124, 3, 9
	for _, f := range fields {
		width += int(f.length)
	}
	binary.LittleEndian.PutUint32(head[4:], uint32(rows))
	binary.LittleEndian.PutUint16(head[8:], uint16(32*(1+len(fields))+1))
	binary.LittleEndian.PutUint16(head[10:], uint16(width))
	b.Write(head)
	for _, f := range fields {
		d := make([]byte, 32)
		copy(d, f.name)
		d[11], d[16] = f.kind, f.length
		b.Write(d)
	}
	b.WriteByte('\r')
	for i := range rows {
		fmt.Fprintf(&b, " %06d%10d%-20s", i*31%999_983, i*7919%1_000_003, fmt.Sprintf("municipio %d", i))
	}
	b.WriteByte(0x1a)
	return b.Bytes()
}

// zipBundle is a ZIP with packed and plain members.
func zipBundle(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := range 30 {
		method := zip.Deflate
		if i%3 == 0 {
			method = zip.Store
		}
		out, err := w.CreateHeader(&zip.FileHeader{Name: fmt.Sprintf("member-%02d.txt", i), Method: method, Modified: epoch})
		if err != nil {
			t.Fatal(err)
		}
		content := make([]byte, 50_000)
		ftptest.Generated(int64(len(content)), uint64(i)).ReadAt(content, 0)
		if _, err := out.Write(bytes.ToValidUTF8(content, []byte("text"))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// zeroRuns is content with long runs of zeros between others, that tar -S and
// cp --sparse may mistake for holes and must not lose.
type zeroRuns struct{ size int64 }

func (z zeroRuns) Size() int64 { return z.size }

func (z zeroRuns) ReadAt(p []byte, off int64) (int, error) {
	n, err := ftptest.Generated(z.size, 8).ReadAt(p, off)
	const run = 300_000
	for i := range p[:n] {
		if (off+int64(i))/run%2 == 1 {
			p[i] = 0
		}
	}
	return n, err
}
