package recipes

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

// column is one of a dBase table's: text, or numbers with so many decimals.
type column struct {
	name     string
	width    byte
	number   bool
	decimals byte
}

func text(name string, width byte) column { return column{name: name, width: width} }

// dbf is a dBase III table with rows of values in the columns' order.
func dbf(columns []column, rows [][]string) []byte {
	width := 1
	for _, c := range columns {
		width += int(c.width)
	}
	le := binary.LittleEndian
	head := make([]byte, 32, 32*(1+len(columns))+1)
	head[0], head[1], head[2], head[3] = 3, 124, 3, 9
	le.PutUint32(head[4:], uint32(len(rows)))
	le.PutUint16(head[8:], uint16(32*(1+len(columns))+1))
	le.PutUint16(head[10:], uint16(width))
	for _, c := range columns {
		d := make([]byte, 32)
		copy(d[:10], c.name)
		d[11], d[16], d[17] = 'C', c.width, c.decimals
		if c.number {
			d[11] = 'N'
		}
		head = append(head, d...)
	}
	b := bytes.NewBuffer(append(head, '\r'))
	for _, row := range rows {
		b.WriteByte(' ')
		for i, v := range row {
			pad := bytes.Repeat([]byte{' '}, int(columns[i].width)-len(v))
			if columns[i].number {
				b.Write(pad)
			}
			b.WriteString(v)
			if !columns[i].number {
				b.Write(pad)
			}
		}
	}
	b.WriteByte(0x1a)
	return b.Bytes()
}

// dbc packs a dBase table as DATASUS does: its header, a checksum, and its rows in
// the form of PKWARE's implode; here of literals alone.
func dbc(table []byte) []byte {
	head := int(binary.LittleEndian.Uint16(table[8:]))
	out := append([]byte(nil), table[:head]...)
	out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(table[head:]))
	out = append(out, 0, 6) // literals as they are, a window of 4 KiB
	var bits uint32
	var n uint
	put := func(v uint32, width uint) {
		for bits, n = bits|v<<n, n+width; n >= 8; n -= 8 {
			out = append(out, byte(bits))
			bits >>= 8
		}
	}
	for _, c := range table[head:] {
		put(uint32(c)<<1, 9)
	}
	put(1, 8)    // a copy, with the code of the longest lengths
	put(0xff, 8) // the longest: the end
	put(0, 7)
	return out
}

// hospitalStays is a table like SIH's RD files, and the sum of VAL_TOT in cents.
func hospitalStays(state, yymm string, n int) ([]byte, int64) {
	r := rand.New(rand.NewPCG(uint64(n), 7))
	var rows [][]string
	var cents int64
	for range n {
		paid := 5_000 + r.Int64N(900_000)
		cents += paid
		rows = append(rows, []string{
			"20" + yymm[:2], yymm[2:], fmt.Sprintf("%s%04d", state, r.IntN(9999)), []string{"1", "3"}[r.IntN(2)],
			fmt.Sprint(r.IntN(99)), fmt.Sprintf("%d.%02d", paid/100, paid%100), fmt.Sprintf("J%02d", r.IntN(99)),
		})
	}
	return dbf([]column{
		text("ANO_CMPT", 4), text("MES_CMPT", 2), text("MUNIC_RES", 6), text("SEXO", 1),
		{"IDADE", 3, true, 0}, {"VAL_TOT", 14, true, 2}, text("DIAG_PRINC", 4),
	}, rows), cents
}

// establishments is a table like CNES' ST files, with so many of each kind.
func establishments(kinds map[string]int) []byte {
	var rows [][]string
	for kind, n := range kinds {
		for range n {
			rows = append(rows, []string{fmt.Sprintf("%07d", len(rows)*31), "220005", kind})
		}
	}
	return dbf([]column{text("CNES", 7), text("CODUFMUN", 6), text("TP_UNID", 2)}, rows)
}

// TestTables: what the fixtures pack is what a decoder unpacks.
func TestTables(t *testing.T) {
	table, _ := hospitalStays("12", "2401", 500)
	got := shell{t: t}.run("python3", "-c", `
import sys, tempfile
from pyreaddbc import dbc2dbf
with tempfile.TemporaryDirectory() as d:
    open(d + "/in.dbc", "wb").write(sys.stdin.buffer.read())
    dbc2dbf(d + "/in.dbc", d + "/out.dbf")
    sys.stdout.buffer.write(open(d + "/out.dbf", "rb").read())
`, dbc(table))
	if !bytes.Equal([]byte(got), table) {
		t.Errorf("%d bytes came of %d", len(got), len(table))
	}
}
