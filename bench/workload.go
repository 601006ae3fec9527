package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// workload is one row of the table: something a user does, done by every
// contender in turn.
type workload struct {
	name string
	net  network
	// goal bounds mirrorfs' time: as a ratio to the contender named base, or,
	// when base is "", in seconds.
	goal float64
	base string
	// idle says that the row is also run after the mount stood unused.
	idle bool
	// entries are the contenders, the one judged first.
	entries []entry
}

// entry is one contender in one workload.
type entry struct {
	name string
	// run does the work once and returns how long it took: preparations, and
	// with them mounting, are not in the time.
	run func(ctx context.Context, b *bench, s *server) (time.Duration, error)
}

func timed(f func() error) (time.Duration, error) {
	start := time.Now()
	err := f()
	return time.Since(start), err
}

// cold runs load on a fresh mount that has fetched nothing.
func cold(m mounter, load func(root string) error) entry {
	return entry{m.name, func(ctx context.Context, b *bench, s *server) (time.Duration, error) {
		mt, err := m.mountFresh(ctx, b.work, s)
		if err != nil {
			return 0, err
		}
		defer mt.close()
		if err := b.rest(ctx); err != nil {
			return 0, err
		}
		d, err := timed(func() error { return load(mt.dir) })
		b.notePeak(m.name, mt.peakMemory())
		return d, err
	}}
}

// again runs load on a fresh mount after warm has been done there once, and
// after between, which may be nil.
func again(m mounter, warm func(root string) error, between func() error, load func(root string) error) entry {
	return entry{m.name, func(ctx context.Context, b *bench, s *server) (time.Duration, error) {
		mt, err := m.mountFresh(ctx, b.work, s)
		if err != nil {
			return 0, err
		}
		defer mt.close()
		if err := warm(mt.dir); err != nil {
			return 0, err
		}
		if err := settle(mt, warm); err != nil {
			return 0, err
		}
		if between != nil {
			if err := between(); err != nil {
				return 0, err
			}
		}
		return timed(func() error { return load(mt.dir) })
	}}
}

// settle gives a mount the time to finish what reading started (checks, writes
// to its cache), and warms once more, so that rows about the second reading
// measure that.
func settle(mt *mount, warm func(root string) error) error {
	time.Sleep(2 * time.Second)
	return warm(mt.dir)
}

// native runs load on a copy of the mirror on the local disk.
func native(warm func(root string) error, between func() error, load func(root string) error) entry {
	return entry{"native", func(ctx context.Context, b *bench, s *server) (time.Duration, error) {
		if err := warm(b.copy); err != nil {
			return 0, err
		}
		if between != nil {
			if err := between(); err != nil {
				return 0, err
			}
		}
		return timed(func() error { return load(b.copy) })
	}}
}

// curl fetches one path.
func curl(path string) entry {
	return command("curl", func(b *bench, s *server) []string {
		return []string{"curl", "-sS", "-o", os.DevNull, s.url() + "/" + path}
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
	return entry{name, func(ctx context.Context, b *bench, s *server) (time.Duration, error) {
		w := append(enter(s.ns), words(b, s)...)
		return timed(func() error {
			out, err := exec.CommandContext(ctx, w[0], w[1:]...).CombinedOutput()
			if err != nil {
				return fmt.Errorf("%s: %w: %s", name, err, out)
			}
			return nil
		})
	}}
}

// workloads are all rows, in the order of the table.
func workloads(bin string) []workload {
	m4, m8, m20 := mirrorfs(bin, 4), mirrorfs(bin, 8), mirrorfs(bin, 20)
	plain := rclone("rclone")
	best := rclone("rclone, best flags", "--no-modtime", "--attr-timeout", "1h", "--dir-cache-time", "1h",
		"--vfs-read-chunk-streams", "4", "--vfs-read-chunk-size", "16M")

	big := func(root string) error { return readFile(filepath.Join(root, bigFile)) }
	medium := func(root string) error { return readFile(filepath.Join(root, mediumFile)) }
	random := func(root string) error { return readRandom(filepath.Join(root, mediumFile), 20000) }
	tail := func(root string) error { return readTail(filepath.Join(root, bigFile), 64<<10) }
	first := func(root string) error { return readFirst(filepath.Join(root, deepFile())) }
	longList := func(root string) error { return exec.Command("ls", "-l", filepath.Join(root, manyDir)).Run() }
	find := func(root string) error {
		out, err := exec.Command("find", filepath.Join(root, treeDir), "-type", "f", "-size", "+0").Output()
		if n := strings.Count(string(out), "\n"); err == nil && n != treeFiles {
			err = fmt.Errorf("find saw %d files, want %d", n, treeFiles)
		}
		return err
	}
	stat := func(times int) func(string) error {
		return func(root string) error {
			var names []string
			for i := range treeFiles {
				names = append(names, filepath.Join(root, manyDir, fmt.Sprintf("RDSP%05d.dbc", i)))
			}
			return statAll(names, times)
		}
	}
	spread, books := paths(spreadN, spreadFile), paths(bookN, bookFile)
	readSet := func(set []string) func(string) error {
		return func(root string) error {
			var names []string
			for _, p := range set {
				names = append(names, filepath.Join(root, p))
			}
			return readAll(names)
		}
	}

	rows := []workload{
		{name: "1 GiB read again, page cache warm", net: loopback, goal: 1.15, base: "native", entries: []entry{
			again(m4, big, nil, big), native(big, nil, big), again(plain, big, nil, big), again(best, big, nil, big)}},
		{name: "1 GiB from the disk cache, page cache dropped", net: loopback, goal: 1.15, base: "native", entries: []entry{
			again(m4, big, dropPages, big), native(big, dropPages, big), again(plain, big, dropPages, big)}},
		{name: "20 000 random 4 KiB reads of a cached 256 MiB file", net: loopback, goal: 1.2, base: "native", entries: []entry{
			again(m4, medium, nil, random), native(medium, nil, random), again(plain, medium, nil, random)}},
		{name: "1 GiB read again without CAP_SYS_ADMIN", net: loopback, goal: 5, base: "native", entries: []entry{
			again(unprivileged(m4), big, nil, big), native(big, nil, big)}},
		{name: "stat of 2 000 known files, 5 times", net: loopback, goal: 1.2, base: "native", entries: []entry{
			again(m4, stat(1), nil, stat(5)), native(stat(1), nil, stat(5)), again(best, stat(1), nil, stat(5))}},
		{name: "`ls -l` of 20 000 entries, again", net: loopback, goal: 1.5, base: "native", entries: []entry{
			again(m4, longList, nil, longList), native(longList, nil, longList), again(plain, longList, nil, longList), again(best, longList, nil, longList)}},
		{name: "`ls -l` of 20 000 entries, first time", net: loopback, goal: 3, base: "curl", entries: []entry{
			cold(m4, longList), curl(manyDir + "/"), cold(best, longList)}},
		{name: "1 GiB cold", net: loopback, goal: 0.7, base: "curl", entries: []entry{
			cold(m4, big), curl(bigFile), cold(plain, big), cold(best, big)}},
		{name: "256 MiB cold, 4 connections", net: distant, goal: 0.4, base: "curl", idle: true, entries: []entry{
			cold(m4, medium), curl(mediumFile), cold(plain, medium), cold(best, medium)}},
		{name: "256 MiB cold, 4 connections", net: capped, goal: 0.28, base: "curl", entries: []entry{
			cold(m4, medium), curl(mediumFile), cold(plain, medium), cold(best, medium)}},
		{name: "`find -type f -size +0`, 111 directories, 8 connections", net: distant, goal: 0.15, base: "ftplib", idle: true, entries: []entry{
			cold(m8, find), script("ftplib", "walk", treeDir), cold(plain, find), cold(best, find)}},
		{name: "the same, 4 connections", net: distant, goal: 0.25, base: "ftplib", idle: true, entries: []entry{
			cold(m4, find), script("ftplib", "walk", treeDir)}},
		{name: "20 small files in 20 directories, 20 threads, 8 connections", net: distant, goal: 0.19, base: "ftplib", idle: true, entries: []entry{
			cold(m8, readSet(spread)), script("ftplib", "get", spread...), script("ftplib-threads-8", "get", spread...), cold(best, readSet(spread))}},
		{name: "the same, 20 connections", net: distant, goal: 0.10, base: "ftplib", idle: true, entries: []entry{
			cold(m20, readSet(spread)), script("ftplib", "get", spread...), script("ftplib-threads-20", "get", spread...), script("aioftp", "get", spread...)}},
		{name: "13 Gutenberg books, 13 threads, 8 connections", net: distant, goal: 0.15, base: "ftplib", idle: true, entries: []entry{
			cold(m8, readSet(books)), script("ftplib", "get", books...), cold(best, readSet(books)), script("aioftp", "get", books...)}},
		{name: "last 64 KiB of a 1 GiB file, just mounted", net: distant, goal: 1.2, idle: true, entries: []entry{
			cold(m4, tail), cold(best, tail)}},
		{name: "first byte, 4 levels deep, among 43 000 unlisted entries", net: distant, goal: 1.2, idle: true, entries: []entry{
			cold(m4, first), cold(best, first)}},
	}
	return rows
}

func paths(n int, of func(int) string) []string {
	var p []string
	for i := range n {
		p = append(p, of(i))
	}
	return p
}

func (w workload) title() string {
	if w.net == loopback {
		return w.name
	}
	return w.name + ", " + string(w.net)
}

func (w workload) goalText() string {
	g := strconv.FormatFloat(w.goal, 'g', -1, 64)
	if w.base == "" {
		return "≤ " + g + " s"
	}
	return "≤ " + g + " × " + w.base
}
