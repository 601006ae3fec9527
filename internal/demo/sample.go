package demo

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// The sample mirror has the shapes of two real ones: DATASUS, with its deep
// folders, names in capitals and tables in dBase form, and Project Gutenberg,
// with a folder per digit of a book's number.

// births is the sample's largest file: a table long enough that one can watch it
// stream.
const (
	births     = "datasus/dissemin/publicos/SINASC/DNSP2022.csv"
	births2021 = "datasus/dissemin/publicos/SINASC/DNSP2021.csv"
	tables     = "datasus/dissemin/publicos/SIM/CID10/TABELAS"
	book       = "gutenberg/1/3/4/1342/1342-0.txt"
)

// writeSample makes the sample mirror in a folder.
func writeSample(folder string) (files int, size int64, err error) {
	content := map[string][]byte{
		births:                        birthsTable(2022, 400_000),
		births2021:                    birthsTable(2021, 20_000),
		tables + "/UF.DBF":            dbf([]string{"SIGLA_UF", "CODIGO", "DESCRICAO"}, states),
		tables + "/CADMUN.DBF":        dbf([]string{"MUNCOD", "MUNNOME"}, towns),
		"gutenberg/GUTINDEX.ALL":      index(),
		"gutenberg/README":            []byte("Books by their numbers: 1342 is in 1/3/4/1342.\n"),
		"datasus/dissemin/LEIAME.TXT": []byte("Uma amostra com a forma do DATASUS.\r\n"),
	}
	for _, b := range books {
		digits := strings.Split(b.number[:len(b.number)-1], "")
		path := "gutenberg/" + strings.Join(digits, "/") + "/" + b.number + "/" + b.number + "-0.txt"
		content[path] = b.text()
	}
	for path, b := range content {
		name := filepath.Join(folder, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return 0, 0, err
		}
		if err := os.WriteFile(name, b, 0o644); err != nil {
			return 0, 0, err
		}
		when := time.Date(2023, 5, 17, 12, 0, len(path), 0, time.UTC)
		if err := os.Chtimes(name, when, when); err != nil {
			return 0, 0, err
		}
		files++
		size += int64(len(b))
	}
	return files, size, nil
}

// birthsTable is a table of rows that nobody was born as.
func birthsTable(year, rows int) []byte {
	r := rand.New(rand.NewPCG(uint64(year), 1))
	var b bytes.Buffer
	b.WriteString("NUMERODN;CODMUNNASC;DTNASC;SEXO;PESO;IDADEMAE;SEMAGESTAC\n")
	for i := range rows {
		day := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, r.IntN(365))
		fmt.Fprintf(&b, "%08d;35%04d;%s;%d;%04d;%d;%d\n", i, r.IntN(10000), day.Format("02012006"),
			1+r.IntN(2), 1500+r.IntN(3000), 14+r.IntN(32), 28+r.IntN(15))
	}
	return b.Bytes()
}

var (
	states = [][]string{
		{"AC", "12", "Acre"}, {"AM", "13", "Amazonas"}, {"BA", "29", "Bahia"}, {"CE", "23", "Cear\xe1"},
		{"DF", "53", "Distrito Federal"}, {"MG", "31", "Minas Gerais"}, {"PA", "15", "Par\xe1"},
		{"PE", "26", "Pernambuco"}, {"RJ", "33", "Rio de Janeiro"}, {"RS", "43", "Rio Grande do Sul"},
		{"SP", "35", "S\xe3o Paulo"}, {"TO", "17", "Tocantins"},
	}
	towns = [][]string{
		{"120040", "Rio Branco"}, {"130260", "Manaus"}, {"150140", "Bel\xe9m"}, {"230440", "Fortaleza"},
		{"261160", "Recife"}, {"292740", "Salvador"}, {"310620", "Belo Horizonte"}, {"330455", "Rio de Janeiro"},
		{"355030", "S\xe3o Paulo"}, {"431490", "Porto Alegre"}, {"530010", "Bras\xedlia"},
	}
)

// dbf is a table in dBase III form, as foreign::read.dbf and others read it.
func dbf(fields []string, rows [][]string) []byte {
	const width = 24
	le := binary.LittleEndian
	head := make([]byte, 32)
	head[0], head[1], head[2], head[3] = 3, 123, 5, 17 // dBase III, 2023-05-17
	le.PutUint32(head[4:], uint32(len(rows)))
	le.PutUint16(head[8:], uint16(32+32*len(fields)+1))
	le.PutUint16(head[10:], uint16(1+width*len(fields)))
	for _, name := range fields {
		f := make([]byte, 32)
		copy(f[:10], name)
		f[11], f[16] = 'C', width
		head = append(head, f...)
	}
	head = append(head, '\r')
	for _, row := range rows {
		head = append(head, ' ')
		for _, v := range row {
			head = append(head, v...)
			head = append(head, bytes.Repeat([]byte{' '}, width-len(v))...)
		}
	}
	return append(head, 0x1a)
}

// opening is how a book begins; the rest of it is left to the reader.
type opening struct{ number, title, author, words string }

var books = []opening{
	{"1342", "Pride and Prejudice", "Jane Austen", "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a wife."},
	{"2701", "Moby Dick; Or, The Whale", "Herman Melville", "Call me Ishmael."},
	{"98", "A Tale of Two Cities", "Charles Dickens", "It was the best of times, it was the worst of times."},
	{"84", "Frankenstein; Or, The Modern Prometheus", "Mary Shelley", "You will rejoice to hear that no disaster has accompanied the commencement of an enterprise which you have regarded with such evil forebodings."},
	{"54829", "Memorias Posthumas de Braz Cubas", "Machado de Assis", "Algum tempo hesitei se devia abrir estas memorias pelo principio ou pelo fim."},
	{"174", "The Picture of Dorian Gray", "Oscar Wilde", "The studio was filled with the rich odour of roses."},
}

func (o opening) text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "The Project Gutenberg eBook of %s, by %s\r\n\r\n", o.title, o.author)
	b.WriteString("(A sample: the first words, many times over.)\r\n\r\n*** START ***\r\n\r\n")
	for b.Len() < 300<<10 {
		b.WriteString(o.words + "\r\n")
	}
	b.WriteString("\r\n*** END ***\r\n")
	return b.Bytes()
}

func index() []byte {
	var b bytes.Buffer
	for _, o := range books {
		fmt.Fprintf(&b, "%-60s %s\r\n", o.title+", by "+o.author, o.number)
	}
	return b.Bytes()
}
