package ftppool

import (
	"errors"
	"slices"
	"strings"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

const maxFollowed = 64 // links of one directory whose target is asked for one by one

// resolveLinks completes the symlinks of an MLSD listing. Servers show them
// without their target, or with the one they have worked out themselves, and
// leave out dangling ones; LIST has the targets as they are written. Links are
// few, so a directory without any costs nothing. It fails only when it is cut.
func (s *session) resolveLinks(dir string, l *listing.Listing) (*listing.Listing, error) {
	isLink := func(e listing.Entry) bool { return e.Type == listing.Symlink }
	if !slices.ContainsFunc(l.Entries, isLink) {
		return l, nil
	}
	shown, report, err := s.fetch("LIST", dir, true)
	if errors.Is(err, ErrPreempted) {
		return nil, err
	}
	if err != nil {
		s.pool.log.Debug("the targets of links can't be found out", "dir", dir, "err", err)
		return l, nil
	}
	if report.Style == listing.Facts {
		return l, nil // it says no more than MLSD
	}
	links := make(map[string]listing.Entry)
	for _, e := range shown.Entries {
		if isLink(e) {
			links[e.Raw] = e
		}
	}
	entries := slices.Clone(l.Entries)
	names := make(map[string]bool, len(entries))
	for i, e := range entries {
		names[e.Name] = true
		if found, ok := links[e.Raw]; ok && isLink(e) && found.Target != "" {
			entries[i].Target = found.Target
		}
		delete(links, e.Raw)
	}
	for _, e := range links { // dangling, or in a circle
		if !names[e.Name] {
			if samples := s.pool.known().ZoneSamples; len(samples) > 0 {
				e.MTime = correct(samples, e.MTime)
			}
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b listing.Entry) int { return strings.Compare(a.Name, b.Name) })
	s.followLinks(dir, entries)
	return &listing.Listing{Entries: entries, Unparsed: l.Unparsed}, nil
}

// followLinks finds where links lead whose target no listing shows, as far as
// they lead to directories: the server tells where one is once it is entered.
func (s *session) followLinks(dir string, entries []listing.Entry) {
	left := maxFollowed
	for i := range entries {
		e := &entries[i]
		if e.Type != listing.Symlink || e.Target != "" || s.pool.needsTelnet(e.Raw) {
			continue
		}
		if left--; left < 0 {
			return
		}
		path := s.abs(listing.Join(dir, e.Raw))
		r, err := s.exchange("CWD "+path, "PWD")
		if err != nil {
			return
		}
		if !r[0].ok() || !r[1].ok() {
			continue
		}
		if at, err := loginFolder(r[1]); err == nil && at != path {
			e.Target = s.pool.charset.Decode(at, false)
		}
	}
}
