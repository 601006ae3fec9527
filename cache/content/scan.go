package content

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/mirrorfs/mirrorfs/cache/internal/record"
	"golang.org/x/sys/unix"
)

// scan fills the index with what the directory holds, and removes from the
// directory what can't be trusted. Only an unreadable directory is an error.
func (s *Store) scan() error {
	names, err := readNames(s.opts.Dir)
	if err != nil {
		return err
	}
	dats, metas := make(map[string]bool), []string{}
	for _, name := range names {
		switch {
		case record.IsTemp(name):
			s.discard(name, nil)
		case strings.HasSuffix(name, datExt):
			dats[strings.TrimSuffix(name, datExt)] = true
		case strings.HasSuffix(name, metaExt):
			metas = append(metas, strings.TrimSuffix(name, metaExt))
		}
	}
	var (
		workers sync.WaitGroup
		todo    = make(chan string)
		mu      sync.Mutex // guards dats and the index
	)
	for range runtime.GOMAXPROCS(0) * 2 {
		workers.Go(func() {
			for base := range todo {
				f, err := s.load(base)
				mu.Lock()
				switch {
				case err == nil:
					s.index(f)
					delete(dats, base)
				case unreadable(err):
					s.log.Warn("a file of the cache can't be used now; it is left alone", "file", base+metaExt, "error", err)
					delete(dats, base)
				default:
					s.discard(base+metaExt, err)
				}
				mu.Unlock()
			}
		})
	}
	for _, base := range metas {
		if _, gen, ok := parseBase(base); ok {
			s.gen = max(s.gen, gen)
		}
		todo <- base
	}
	close(todo)
	workers.Wait()
	for base := range dats { // their records are missing or were discarded above
		if _, gen, ok := parseBase(base); ok {
			s.gen = max(s.gen, gen)
		}
		s.discard(base+datExt, nil)
	}
	// A generation's name is never used twice, even when all files of a later
	// generation are gone: a record that a power failure brought back must not
	// speak of another file's bytes.
	s.gen = max(s.gen, uint64(time.Now().UnixMicro()))
	return nil
}

// unreadable reports whether a record or .dat could not be looked at, which says
// nothing about what is in it: it may be another user's, or files be too many.
func unreadable(err error) bool {
	var p *fs.PathError
	return errors.As(err, &p) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, record.ErrCorrupt)
}

// index enters a file that was found, in place of an older generation of the
// same version. It is called during scan only.
func (s *Store) index(f *file) {
	gens := s.files[f.path]
	for i, g := range gens {
		if !g.version.Same(f.version) {
			continue
		}
		if f.gen > g.gen {
			gens[i], f = f, g
		}
		base := baseName(f.path, f.gen)
		s.discard(base+metaExt, nil)
		s.discard(base+datExt, nil)
		s.room.used.Add(-f.blocks)
		return
	}
	s.files[f.path] = append(gens, f)
}

// load returns the file that a record and the .dat beside it make up.
func (s *Store) load(base string) (*file, error) {
	hash, gen, ok := parseBase(base)
	if !ok {
		return nil, errors.New("not a name that is used here")
	}
	payload, err := record.Read(s.file(base, metaExt), metaKind)
	if err != nil {
		return nil, err
	}
	m, err := decodeMeta(payload)
	if err != nil {
		return nil, err
	}
	if pathHash(string(m.Path)) != hash {
		return nil, errors.New("the record is another file's")
	}
	var st unix.Stat_t
	if err := unix.Lstat(s.file(base, datExt), &st); err != nil {
		return nil, fmt.Errorf("its content: %w", &fs.PathError{Op: "lstat", Path: s.file(base, datExt), Err: err})
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size != m.Version.Size {
		return nil, fmt.Errorf("its content has %d bytes, not %d", st.Size, m.Version.Size)
	}
	f := s.newFile(string(m.Path), gen, m.Version)
	held, _ := toRanges(m.Held, f.size)
	durable, _ := toRanges(m.Durable, f.size)
	if m.Boot != s.boot { // what was not synced may not have reached the disk
		held = durable.clone()
	}
	if len(held.spans) == 0 {
		return nil, errors.New("nothing in it can be trusted after the restart of the machine")
	}
	f.held, f.durable = held, durable
	f.whole = m.Whole && held.contains(span{0, f.size})
	if f.whole {
		f.sums = m.Sums
	}
	f.pinned, f.fetched, f.used, f.savedUsed = m.Pinned, m.Fetched, m.Used, m.Used
	f.blocks = st.Blocks*512 + metaCost
	f.onDisk = true
	s.room.used.Add(f.blocks)
	return f, nil
}

// discard removes a file from the directory, and says so if there is a reason.
func (s *Store) discard(name string, reason error) {
	if reason != nil {
		s.log.Warn("removed from the cache; it will be fetched again when it is wanted", "file", name, "reason", reason)
	}
	if err := os.Remove(s.opts.Dir + "/" + name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("can't remove from the cache", "file", name, "error", err)
	}
}

func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}
