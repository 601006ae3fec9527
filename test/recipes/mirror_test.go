package recipes

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// mirrors are the servers that the texts name, each with what the texts read.
type mirrors struct {
	datasus, ncbi, ibiblio *ftptest.Server

	establishments int              // rows of STPI2206.dbc
	paid           map[string]int64 // cents in Acre's hospital stays, by month (YYMM)
	conditions     int              // rows of gene_condition_source_id
	towns          int              // rows of CADMUN.DBF
}

const (
	publicos = "dissemin/publicos/"
	stays    = publicos + "SIHSUS/200801_/Dados/"
	clinics  = publicos + "CNES/200508_/Dados/ST/"
)

// published is when the files came onto the servers: long ago.
var published = time.Date(2025, 3, 9, 14, 25, 36, 0, time.UTC)

func serve(t *testing.T) *mirrors {
	t.Helper()
	m := &mirrors{paid: map[string]int64{}}
	start := func(host string, p ftptest.Profile, tree *ftptest.Tree) *ftptest.Server {
		return ftptest.New(t, ftptest.Options{Profile: p, Tree: tree, Listen: hosts[host] + ":21"})
	}
	m.datasus = start("ftp.datasus.gov.br", ftptest.DATASUS(), m.datasusTree(t))
	m.ncbi = start("ftp.ncbi.nlm.nih.gov", ftptest.Vsftpd(), m.ncbiTree())
	m.ibiblio = start("ftp.ibiblio.org", ftptest.ProFTPD(), ibiblioTree())
	return m
}

func (m *mirrors) datasusTree(t *testing.T) *ftptest.Tree {
	tree := ftptest.NewTree()
	put := func(path string, b []byte) { tree.WriteFile(path, b, published) }

	// Latin-1, as there.
	towns := [][]string{{"120040", "Rio Branco"}, {"150140", "Bel\xe9m"}, {"355030", "S\xe3o Paulo"}, {"530010", "Bras\xedlia"}}
	m.towns = len(towns)
	put(publicos+"SIM/CID10/TABELAS/CADMUN.DBF", dbf([]column{text("MUNCOD", 7), text("MUNNOME", 50)}, towns))

	states := map[string]string{"AC": "12", "RJ": "33", "SP": "35"}
	months := []string{"2311", "2312"}
	for i := range 12 {
		months = append(months, fmt.Sprintf("24%02d", i+1))
	}
	for i, now := 0, time.Now(); i < 4; i++ { // for who asks for last month's
		months = append(months, time.Date(now.Year(), now.Month()-time.Month(i), 1, 0, 0, 0, 0, time.Local).Format("0601"))
	}
	for state, code := range states {
		for i, month := range months {
			table, cents := hospitalStays(code, month, 100+10*i)
			name := "RD" + state + month + ".dbc"
			if state == "RJ" && i%2 == 1 { // there is no telling why
				name = "RD" + state + month + ".DBC"
			}
			if state == "AC" {
				m.paid[month] = cents
			}
			put(stays+name, dbc(table))
		}
	}

	kinds := map[string]int{"01": 120, "02": 330, "05": 14, "22": 77}
	m.establishments = 120 + 330 + 14 + 77
	put(clinics+"STPI2206.dbc", dbc(establishments(kinds)))
	if b, err := os.ReadFile(realFile("STPI2206.dbc")); err == nil {
		t.Log("with the real STPI2206.dbc")
		m.establishments = int(b[4]) | int(b[5])<<8
		put(clinics+"STPI2206.dbc", b)
	}
	return tree
}

// realFile is where a .dbc file that DATASUS published may be at hand.
func realFile(name string) string {
	dir := os.Getenv("MIRRORFS_DBC_DIR")
	if dir == "" {
		dir = filepath.Join(deps, "../../shared/dbc")
	}
	return filepath.Join(dir, name)
}

func (m *mirrors) ncbiTree() *ftptest.Tree {
	tree := ftptest.NewTree()
	var b strings.Builder
	b.WriteString("#GeneID\tAssociatedGenes\tRelatedGenes\tConceptID\tDiseaseName\tSourceName\tSourceID\tDiseaseMIM\tLastUpdated\n")
	m.conditions = 1500
	for i := range m.conditions {
		fmt.Fprintf(&b, "%d\tGENE%d\t\tC%07d\tAn ailment's \"name\" %d\tNCBI curation\t\t%d\t01 Mar 2024\n", i+1, i, i*17, i%300, 100000+i)
	}
	tree.WriteFile("pub/clinvar/gene_condition_source_id", []byte(b.String()), published)
	for group, levels := range map[string][3]int{"archaea": {500, 700, 300}, "viral": {14000, 40, 10}} {
		var b strings.Builder
		b.WriteString("##  See ftp://ftp.ncbi.nlm.nih.gov/genomes/README_assembly_summary.txt for a description of the columns in this file.\n")
		b.WriteString("#assembly_accession\tbioproject\torganism_name\tassembly_level\tseq_rel_date\tasm_name\n")
		for i, level := range []string{"Complete Genome", "Scaffold", "Contig"} {
			for n := range levels[i] {
				fmt.Fprintf(&b, "GCF_%09d.1\tPRJNA%d\tName \"%d\" of it\t%s\t2023/%02d/09\tASM%d\n", n, n, n, level, 1+n%12, n)
			}
		}
		tree.WriteFile("genomes/refseq/"+group+"/assembly_summary.txt", []byte(b.String()), published)
	}
	return tree
}

func ibiblioTree() *ftptest.Tree {
	tree := ftptest.NewTree()
	tree.WriteFile("pub/docs/books/gutenberg/1/3/4/1342/1342-0.txt", []byte("It is a truth universally acknowledged\n"), published)
	return tree
}
