package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What stood unused is compared with those who had nothing to rest, as they
// were in the same run; the peaks of memory are a row of their own.
func TestRows(t *testing.T) {
	w := workload{name: "read", net: distant, goals: []goal{{"mirrorfs, 4 connections", 0.5, "curl"}}, memory: &goal{"mirrorfs, 4 connections", 64, ""},
		entries: []entry{{name: "mirrorfs, 4 connections", mounts: true}, {name: "curl"}}}
	now := &measured{workload: w, samples: [][]sample{{{figure: 1, peak: 20 * mib}, {figure: 9, peak: 21 * mib}, {figure: 2, peak: 19 * mib}}, {{figure: 4, commands: 8}, {figure: 4, commands: 10}}}}
	w.entries = mounting(w.entries)
	w.memory = nil
	rested := &measured{workload: w, rested: true, samples: [][]sample{{{figure: 3}}}}

	r := results{Machine: "a machine", Rows: append(now.rows(0, nil), rested.rows(10*time.Minute, []*measured{now})...)}
	var titles []string
	for _, row := range r.Rows {
		titles = append(titles, row.Title)
	}
	if got := strings.Join(titles, "; "); got != "read, 100 ms; read, 100 ms: peak memory; read, 100 ms, after 10 min unused" {
		t.Errorf("rows are %s", got)
	}
	for i, want := range []float64{0.5, 20, 0.75} {
		if got, ok := r.Rows[i].reached(r.Rows[i].Goals[0]); !ok || got != want {
			t.Errorf("%s: reached %v, want %v", titles[i], got, want)
		}
	}
	table := r.markdown()
	for _, line := range []string{
		"| read, 100 ms: mirrorfs, 4 connections | ≤ 0.5 × curl | 0.5 | yes |",
		"| read, 100 ms, after 10 min unused: mirrorfs, 4 connections | ≤ 0.5 × curl | 0.75 | **no** |",
		"| read, 100 ms | mirrorfs, 4 connections | 2.00 s | 1.00 s – 9.00 s | 1.00 | 0 |",
		"|  | curl | 4.00 s | 4.00 s – 4.00 s | 2.00 | 9 |",
	} {
		if !strings.Contains(table, line+"\n") {
			t.Errorf("the report lacks %q:\n%s", line, table)
		}
	}
}

// A run in parts gives the report of all.
func TestJoin(t *testing.T) {
	name := filepath.Join(t.TempDir(), "part.json")
	a := results{Machine: "a machine", Versions: []string{"curl 8"}, Rows: []row{{Title: "a", Unit: "s", Figures: []figures{{Name: "curl", Values: []float64{1}}}}}, LeftOut: []string{"x"}}
	if err := a.write(name); err != nil {
		t.Fatal(err)
	}
	b, err := readResults(name)
	if err != nil {
		t.Fatal(err)
	}
	b.Rows[0].Title = "b"
	a.add(b)
	if len(a.Rows) != 2 || a.Rows[1].Title != "b" || a.Rows[1].Figures[0].Values[0] != 1 || len(a.Versions) != 1 || len(a.LeftOut) != 1 {
		t.Errorf("joined: %+v", a)
	}
}
