package content

import "slices"

// span is a half-open piece of a file: bytes lo to hi-1.
type span struct{ lo, hi int64 }

func (s span) len() int64 { return s.hi - s.lo }

func (s span) meets(t span) bool { return s.lo < t.hi && t.lo < s.hi }

func (s span) cut(t span) span { return span{max(s.lo, t.lo), min(s.hi, t.hi)} }

// ranges is a set of bytes: spans in ascending order that neither overlap nor
// touch. The zero value is the empty set. Not safe for concurrent use.
type ranges struct{ spans []span }

func (r *ranges) clone() ranges { return ranges{slices.Clone(r.spans)} }

// at returns the index of the first span that ends after off.
func (r *ranges) at(off int64) int {
	i, _ := slices.BinarySearchFunc(r.spans, off, func(s span, off int64) int {
		if s.hi <= off {
			return -1
		}
		return 1
	})
	return i
}

func (r *ranges) add(s span) {
	if s.lo >= s.hi {
		return
	}
	i := r.at(s.lo)
	if i > 0 && r.spans[i-1].hi == s.lo {
		i--
	}
	j := i
	for j < len(r.spans) && r.spans[j].lo <= s.hi {
		s.lo, s.hi = min(s.lo, r.spans[j].lo), max(s.hi, r.spans[j].hi)
		j++
	}
	r.spans = slices.Replace(r.spans, i, j, s)
}

func (r *ranges) remove(s span) {
	if s.lo >= s.hi {
		return
	}
	i := r.at(s.lo)
	j := i
	var left []span
	for j < len(r.spans) && r.spans[j].lo < s.hi {
		if t := r.spans[j]; t.lo < s.lo {
			left = append(left, span{t.lo, s.lo})
		}
		if t := r.spans[j]; t.hi > s.hi {
			left = append(left, span{s.hi, t.hi})
		}
		j++
	}
	r.spans = slices.Replace(r.spans, i, j, left...)
}

func (r *ranges) contains(s span) bool {
	if s.lo >= s.hi {
		return true
	}
	i := r.at(s.lo)
	return i < len(r.spans) && r.spans[i].lo <= s.lo && s.hi <= r.spans[i].hi
}

// run returns the span that holds off, or the empty span at off.
func (r *ranges) run(off int64) span {
	if i := r.at(off); i < len(r.spans) && r.spans[i].lo <= off {
		return r.spans[i]
	}
	return span{off, off}
}

// next returns the first span that begins at or after off.
func (r *ranges) next(off int64) (span, bool) {
	i := r.at(off)
	if i < len(r.spans) && r.spans[i].lo < off {
		i++
	}
	if i == len(r.spans) {
		return span{}, false
	}
	return r.spans[i], true
}

// missing returns the pieces of s that are not in the set.
func (r *ranges) missing(s span) []span {
	var gaps []span
	for lo := s.lo; lo < s.hi; {
		lo = r.run(lo).hi
		if lo >= s.hi {
			break
		}
		hi := s.hi
		if n, ok := r.next(lo); ok {
			hi = min(hi, n.lo)
		}
		gaps = append(gaps, span{lo, hi})
		lo = hi
	}
	return gaps
}

// firstMissing returns the first byte of s that is not in the set.
func (r *ranges) firstMissing(s span) (int64, bool) {
	off := max(s.lo, r.run(s.lo).hi)
	return off, off < s.hi
}

func (r *ranges) total() (n int64) {
	for _, s := range r.spans {
		n += s.len()
	}
	return n
}
