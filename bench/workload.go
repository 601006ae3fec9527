package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// workload is something a user does, done by every contender in turn. Rows of
// the table are its goals.
type workload struct {
	name string
	net  network
	// idle says that it is also done on mounts that stood unused.
	idle bool
	// needsRoot says what it needs root for, "" if nothing.
	needsRoot string
	// bytes says that figures are bytes, not seconds.
	bytes bool
	goals []goal
	// memory bounds the peak memory of the mount's process, in MiB. nil: not looked at.
	memory  *goal
	entries []entry
}

// goal bounds the figure of one contender: as a ratio to that of the one named
// base, or, when base is "", by itself.
type goal struct {
	Contender string  `json:"contender"`
	Bound     float64 `json:"bound"`
	Base      string  `json:"base,omitempty"`
}

// entry is one contender in one workload.
type entry struct {
	name   string
	once   bool // so slow that it runs in the first round only
	mounts bool
	// prepare does what is not in the time, mounting above all.
	prepare func(ctx context.Context, b *bench, s *server) (*attempt, error)
}

func (w workload) title() string {
	if w.net == loopback {
		return w.name
	}
	return w.name + ", " + string(w.net)
}

func (w workload) unit() string {
	if w.bytes {
		return "bytes"
	}
	return "s"
}

// mounting returns the entries that have something to stand unused.
func mounting(all []entry) []entry {
	var some []entry
	for _, e := range all {
		if e.mounts && !e.once {
			some = append(some, e)
		}
	}
	return some
}

func once(e entry) entry {
	e.once = true
	return e
}

func timed(f func() error) (float64, error) {
	start := time.Now()
	err := f()
	return time.Since(start).Seconds(), err
}

// cold runs load on a fresh mount that has fetched nothing.
func cold(m mounter, load func(root string) error) entry {
	return entry{name: m.name, mounts: true, prepare: func(ctx context.Context, b *bench, s *server) (*attempt, error) {
		mt, err := m.mountFresh(ctx, b.work, s)
		if err != nil {
			return nil, err
		}
		return &attempt{
			run:   func(context.Context) (float64, error) { return timed(func() error { return load(mt.dir) }) },
			mount: mt,
		}, nil
	}}
}

// again runs load on a fresh mount after warm has been done there, and after
// between, which may be nil.
func again(m mounter, warm func(root string) error, between func() error, load func(root string) error) entry {
	return entry{name: m.name, mounts: true, prepare: func(ctx context.Context, b *bench, s *server) (*attempt, error) {
		mt, err := m.mountFresh(ctx, b.work, s)
		if err != nil {
			return nil, err
		}
		// Twice, with time for what the first reading started (checks, writes to
		// the cache): rows about another reading are to measure that.
		if err = warm(mt.dir); err == nil {
			time.Sleep(2 * time.Second)
			err = warm(mt.dir)
		}
		if err == nil && between != nil {
			err = between()
		}
		if err != nil {
			mt.close()
			return nil, err
		}
		return &attempt{
			run:   func(context.Context) (float64, error) { return timed(func() error { return load(mt.dir) }) },
			mount: mt,
		}, nil
	}}
}

// againAlone is again by a user who is not root, and reads a file.
func againAlone(m mounter, file string) entry {
	m = unprivileged(m)
	read := func(root string) error { return readFile(filepath.Join(root, file)) }
	return entry{name: m.name, mounts: true, prepare: func(ctx context.Context, b *bench, s *server) (*attempt, error) {
		if m.alone { // its own program lies where only root may go
			self, err := os.Executable()
			if err == nil {
				err = exec.Command("install", "-m", "755", self, filepath.Join(b.work, "bench")).Run()
			}
			if err != nil {
				return nil, fmt.Errorf("copy of this program: %w", err)
			}
		}
		mt, err := m.mountFresh(ctx, b.work, s)
		if err != nil {
			return nil, err
		}
		for range 2 {
			if _, err := mt.do(read, file); err != nil {
				mt.close()
				return nil, err
			}
			time.Sleep(2 * time.Second)
		}
		return &attempt{run: func(context.Context) (float64, error) { return mt.do(read, file) }, mount: mt}, nil
	}}
}

// native runs load on the mirror as the local disk has it. With copied, a path
// in the mirror, it is a copy of that made just before, as a cache makes one.
func native(copied string, warm func(root string) error, between func() error, load func(root string) error) entry {
	return entry{name: "native", prepare: func(ctx context.Context, b *bench, s *server) (*attempt, error) {
		root := b.copy
		if copied != "" {
			root = filepath.Join(b.work, "native")
			if err := os.MkdirAll(filepath.Join(root, filepath.Dir(copied)), 0o755); err != nil {
				return nil, err
			}
			to := filepath.Join(root, copied)
			if err := os.RemoveAll(to); err != nil {
				return nil, err
			}
			if err := exec.Command("cp", "--reflink=never", filepath.Join(b.copy, copied), to).Run(); err != nil {
				return nil, fmt.Errorf("cp: %w", err)
			}
		}
		if err := warm(root); err != nil {
			return nil, err
		}
		if between != nil {
			if err := between(); err != nil {
				return nil, err
			}
		}
		return &attempt{run: func(context.Context) (float64, error) {
			return timed(func() error { return load(root) })
		}}, nil
	}}
}

// curl fetches one path, which follows the options.
func curl(args ...string) entry {
	return command("curl", func(b *bench, s *server) []string {
		words := append([]string{"curl", "-sS", "-o", os.DevNull}, args...)
		words[len(words)-1] = s.url() + "/" + words[len(words)-1]
		return words
	})
}

// curlKept fetches one path into a new file, as a cache does.
func curlKept(path string) entry {
	return command("curl, to a file", func(b *bench, s *server) []string {
		to := filepath.Join(b.work, "fetched")
		_ = os.Remove(to)
		return []string{"curl", "-sS", "-o", to, s.url() + "/" + path}
	})
}

// script runs one of clients.py.
func script(client, work string, args ...string) entry {
	return command(client, func(b *bench, s *server) []string {
		host, port, _ := strings.Cut(s.addr, ":")
		return append([]string{b.python, b.clients, client, host, port, work}, args...)
	})
}

func command(name string, words func(b *bench, s *server) []string) entry {
	return entry{name: name, prepare: func(ctx context.Context, b *bench, s *server) (*attempt, error) {
		w := append(enter(s.ns), words(b, s)...)
		return &attempt{run: func(ctx context.Context) (float64, error) {
			return timed(func() error {
				out, err := exec.CommandContext(ctx, w[0], w[1:]...).CombinedOutput()
				if err != nil {
					return fmt.Errorf("%s: %w: %s", name, err, out)
				}
				return nil
			})
		}}, nil
	}}
}

// perFile tells how many bytes the mount holds for each of n entries after
// list, of which all that is listed are entries: in memory as it counts them
// itself, or in its files.
func perFile(name, bin string, m mounter, list func(root string) error, n int, onDisk bool) entry {
	return entry{name: name, mounts: true, prepare: func(ctx context.Context, b *bench, s *server) (*attempt, error) {
		mt, err := m.mountFresh(ctx, b.work, s)
		if err != nil {
			return nil, err
		}
		held := func() (float64, error) {
			if onDisk {
				return sizeBelow(mt.cache, ".dir")
			}
			return listingMemory(bin, mt.dir)
		}
		return &attempt{mount: mt, run: func(context.Context) (float64, error) {
			before, err := held()
			if err == nil {
				err = list(mt.dir)
			}
			if err != nil {
				return 0, err
			}
			time.Sleep(time.Second) // the listing's file is written behind it
			after, err := held()
			return (after - before) / float64(n), err
		}}, nil
	}}
}

func listingMemory(bin, dir string) (float64, error) {
	out, err := exec.Command(bin, "status", "--json", dir).Output()
	if err != nil {
		return 0, fmt.Errorf("mirrorfs status: %w", err)
	}
	var status struct {
		Listings struct {
			Bytes float64 `json:"memory_bytes"`
		} `json:"listings"`
	}
	err = json.Unmarshal(out, &status)
	return status.Listings.Bytes, err
}

func sizeBelow(dir, suffix string) (float64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != suffix {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return float64(sum), err
}
