package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// The large mirror: groups of a directory that holds groupDirs-1 others, each
// of those with leafFiles files. 200 groups are 20 000 directories and 2 000 000
// entries. ftptest makes each listing up when it is asked for it.
const (
	groupDirs = 100
	leafFiles = 100
	// nodeCost is what a node that the kernel knows may cost, in bytes, and
	// scaleBase what the process may take besides these and --metadata-memory.
	nodeCost  = 1 << 10
	scaleBase = 64 << 20

	scaleSamples = 100
)

// point is one look at the mount while find walks.
type point struct {
	dirs, entries int
	elapsed       time.Duration
	resident      int64 // bytes
	nodes         int64 // that the kernel knows
}

// scale walks a mirror of dirs directories by find, through a mount, looks at
// the mount's process every now and then, and prints what it saw.
func scale(ctx context.Context, bin string, dirs int, memory, svg string) error {
	work, err := os.MkdirTemp("", "mirrorfs-scale-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	bound, err := bytesOf(memory)
	if err != nil {
		return err
	}
	srv, err := ftptest.NewServer(ftptest.Options{Tree: largeTree(dirs), Profile: ftptest.Vsftpd()})
	if err != nil {
		return err
	}
	defer srv.Close()
	m := mirrorfs(bin, 4)
	command := m.command
	m.command = func(s *server, dir, cache string) []string {
		words := command(s, dir, cache)
		return append(words[:1:1], append([]string{"--metadata-memory", memory}, words[1:]...)...)
	}
	mt, err := m.mountFresh(ctx, work, &server{addr: srv.Addr()})
	if err != nil {
		return err
	}
	defer mt.close()
	defer context.AfterFunc(ctx, mt.close)()

	points, err := walkLarge(ctx, mt, bin, dirs)
	if err != nil {
		return err
	}
	if n := points[len(points)-1].entries; n != dirs+dirs/groupDirs*(groupDirs-1)*leafFiles {
		return fmt.Errorf("find saw %d entries", n)
	}
	forgotten := point{}
	if os.Geteuid() == 0 && os.WriteFile("/proc/sys/vm/drop_caches", []byte("2\n"), 0) == nil {
		time.Sleep(10 * time.Second)
		if forgotten, err = look(mt, bin); err != nil {
			return err
		}
	}
	disk, err := sizeBelow(mt.cache, ".dir")
	if err != nil {
		return err
	}
	fmt.Print(scaleTable(points, forgotten, bound, disk))
	if svg != "" {
		return os.WriteFile(svg, []byte(scalePlot(points, bound)), 0o644)
	}
	return nil
}

func largeTree(dirs int) *ftptest.Tree {
	at := time.Date(2024, 5, 17, 12, 0, 0, 0, time.UTC)
	tree := ftptest.NewTree()
	tree.Lazy("", at, func(dir string) []ftptest.Entry {
		var entries []ftptest.Entry
		folders := func(n int, format string) {
			for i := range n {
				entries = append(entries, ftptest.Entry{Name: fmt.Sprintf(format, i), Kind: ftptest.Dir, ModTime: at})
			}
		}
		switch {
		case dir == "":
			folders(dirs/groupDirs, "group%03d")
		case !strings.Contains(dir, "/"):
			folders(groupDirs-1, "year%02d")
		default:
			for i := range leafFiles {
				entries = append(entries, ftptest.Entry{
					Name: fmt.Sprintf("RDSP%06d.dbc", i), ModTime: at, Content: ftptest.Generated(int64(1000+i), uint64(i)),
				})
			}
		}
		return entries
	})
	return tree
}

// walkLarge has find ask for the size of every entry, so that the kernel gets
// to know each.
func walkLarge(ctx context.Context, mt *mount, bin string, dirs int) ([]point, error) {
	find := exec.CommandContext(ctx, "find", mt.dir, "-mindepth", "1", "-size", "+0", "-printf", "%y")
	out, err := find.StdoutPipe()
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	if err := find.Start(); err != nil {
		return nil, err
	}
	var points []point
	var seen point
	letters := bufio.NewReader(out)
	for {
		letter, err := letters.ReadByte()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		seen.entries++
		if letter == 'd' {
			seen.dirs++
			if seen.dirs%max(dirs/scaleSamples, 1) == 0 {
				p, err := look(mt, bin)
				if err != nil {
					return nil, err
				}
				p.dirs, p.entries, p.elapsed = seen.dirs, seen.entries, time.Since(begun)
				log.Printf("%6d directories, %8d entries, %8.2f s, %5d MiB, %8d nodes", p.dirs, p.entries, p.elapsed.Seconds(), p.resident>>20, p.nodes)
				points = append(points, p)
			}
		}
	}
	if err := find.Wait(); err != nil {
		return nil, fmt.Errorf("find: %w", err)
	}
	p, err := look(mt, bin)
	p.dirs, p.entries, p.elapsed = seen.dirs, seen.entries, time.Since(begun)
	return append(points, p), err
}

// look asks a mount for its memory and nodes.
func look(mt *mount, bin string) (point, error) {
	var out, errs bytes.Buffer
	for tries := 1; ; tries++ { // on a machine that has much to do it may be late
		status := exec.Command(bin, "status", "--json", mt.dir)
		out.Reset()
		errs.Reset()
		status.Stdout, status.Stderr = &out, &errs
		err := status.Run()
		if err == nil {
			break
		}
		if tries == 3 {
			return point{}, fmt.Errorf("mirrorfs status: %w: %s %s", err, out.Bytes(), errs.Bytes())
		}
	}
	var status struct {
		Nodes int64 `json:"nodes"`
	}
	err := json.Unmarshal(out.Bytes(), &status)
	return point{resident: mt.memory("VmRSS"), nodes: status.Nodes}, err
}

// bytesOf reads a size as the command line takes it, in whole units.
func bytesOf(size string) (int64, error) {
	var n int64
	var unit string
	if _, err := fmt.Sscanf(size, "%d%s", &n, &unit); err != nil {
		return 0, fmt.Errorf("%q is not a size like 64M", size)
	}
	shift, ok := map[string]int{"K": 10, "M": 20, "G": 30}[unit]
	if !ok {
		return 0, fmt.Errorf("%q is not a size like 64M", size)
	}
	return n << shift, nil
}
