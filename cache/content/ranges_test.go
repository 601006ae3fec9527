package content

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The set behaves like an array of booleans.
func TestRangesAgainstModel(t *testing.T) {
	const size = 64
	rapid.Check(t, func(t *rapid.T) {
		var r ranges
		var model [size]bool
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			lo := rapid.Int64Range(0, size).Draw(t, "lo")
			hi := rapid.Int64Range(lo, size).Draw(t, "hi")
			add := rapid.Bool().Draw(t, "add")
			if add {
				r.add(span{lo, hi})
			} else {
				r.remove(span{lo, hi})
			}
			for i := lo; i < hi; i++ {
				model[i] = add
			}
			checkRanges(t, &r, model[:])
		}
	})
}

func checkRanges(t *rapid.T, r *ranges, model []bool) {
	var want []span
	for i := 0; i < len(model); i++ {
		if !model[i] {
			continue
		}
		j := i
		for j < len(model) && model[j] {
			j++
		}
		want = append(want, span{int64(i), int64(j)})
		i = j
	}
	if !slices.Equal(r.spans, want) {
		t.Fatalf("spans %v, want %v", r.spans, want)
	}
	lo := rapid.Int64Range(0, int64(len(model))).Draw(t, "from")
	hi := rapid.Int64Range(lo, int64(len(model))).Draw(t, "to")
	var gaps ranges
	first := int64(-1)
	for i := lo; i < hi; i++ {
		if !model[i] {
			gaps.add(span{i, i + 1})
			if first < 0 {
				first = i
			}
		}
	}
	if got := r.missing(span{lo, hi}); !slices.Equal(got, gaps.spans) {
		t.Fatalf("missing in %d-%d: %v, want %v", lo, hi, got, gaps.spans)
	}
	if got := r.contains(span{lo, hi}); got != (len(gaps.spans) == 0) {
		t.Fatalf("contains %d-%d: %v, missing %v", lo, hi, got, gaps.spans)
	}
	if off, ok := r.firstMissing(span{lo, hi}); ok != (first >= 0) || ok && off != first {
		t.Fatalf("first missing in %d-%d: %d %v, want %d", lo, hi, off, ok, first)
	}
	n, ok := r.next(lo)
	if i := slices.IndexFunc(want, func(s span) bool { return s.lo >= lo }); ok != (i >= 0) || ok && n != want[i] {
		t.Fatalf("next from %d: %v %v in %v", lo, n, ok, want)
	}
}
