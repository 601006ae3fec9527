package content

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// crashFiles are the files that the killed process reads.
func crashFiles(r *remote) map[string]*remoteFile {
	files := make(map[string]*remoteFile)
	for i := range 12 {
		path := fmt.Sprint("f", i)
		files[path] = r.add(path, int64(i+1)*700_001)
	}
	files["large"] = r.add("large", 70*mib)
	return files
}

const crashSize = 24 * mib

// TestKill kills a process that fills a cache at random moments. What it left
// must be exact, byte for byte, and within bounds.
func TestKill(t *testing.T) {
	if dir := os.Getenv("CONTENT_TEST_KILL"); dir != "" {
		fillUntilKilled(t, dir)
		return
	}
	rounds := 20
	if n, err := strconv.Atoi(os.Getenv("CONTENT_TEST_KILLS")); err == nil {
		rounds = n
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	o := options(t)
	o.Log = nil
	o.MaxSize, o.RetryFor = crashSize, 0
	found := int64(0)
	for range rounds {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), "CONTENT_TEST_KILL="+o.Dir, fmt.Sprint("CONTENT_TEST_SEED=", rnd.Uint64()))
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(out)
		if line, err := in.ReadString('\n'); line != "reading\n" {
			t.Fatalf("the process said %q, %v", line, err)
		}
		time.Sleep(time.Duration(rnd.IntN(1800)) * time.Millisecond)
		cmd.Process.Kill()
		rest, _ := io.ReadAll(in)
		if err := cmd.Wait(); err == nil || len(rest) > 0 {
			t.Fatalf("the process ended by itself: %v %s", err, rest)
		}
		found += checkHeld(t, o)
	}
	t.Logf("%d bytes were found and compared in %d rounds", found, rounds)
	if found == 0 {
		t.Error("nothing was ever found")
	}
}

func fillUntilKilled(t *testing.T, dir string) {
	r := newRemote(3)
	files := crashFiles(r)
	o := options(t)
	o.Dir, o.Log, o.MaxSize = dir, nil, crashSize
	s, err := Open(o, r)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := strconv.ParseUint(os.Getenv("CONTENT_TEST_SEED"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("reading")
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(i)))
			for {
				path := fmt.Sprint("f", rnd.IntN(12))
				if i == 0 {
					path = "large"
				}
				f := files[path]
				h, err := s.Open(context.Background(), 0, path, f.version())
				if err != nil {
					fmt.Println(err)
					return
				}
				p := make([]byte, 128<<10)
				for off := rnd.Int64N(f.size); off < f.size; off += int64(len(p)) {
					n, err := h.ReadAt(context.Background(), p, off)
					if err != nil && err != io.EOF || !bytes.Equal(p[:n], f.bytes(off, int64(n))) {
						fmt.Println("read", path, off, n, err)
						return
					}
					if rnd.IntN(30) == 0 {
						break
					}
				}
				h.Close()
			}
		})
	}
	wg.Wait()
}

// checkHeld opens a cache without a server, compares all that it holds with the
// truth, and returns how much that was.
func checkHeld(t *testing.T, o Options) (total int64) {
	t.Helper()
	r := newRemote(1)
	files := crashFiles(r)
	r.setDown(errors.New("no server"))
	s, err := Open(o, r)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := diskUse(t, o.Dir); got > o.MaxSize {
		t.Errorf("%d bytes on disk, the bound is %d", got, o.MaxSize)
	}
	for _, info := range s.Files() {
		f := files[info.Path]
		h, err := s.Open(t.Context(), 0, info.Path, f.version())
		if err != nil {
			t.Fatal(err)
		}
		for _, piece := range h.file.held.spans {
			check(t, h, f, piece.lo, piece.len())
			total += piece.len()
		}
		h.Close()
	}
	return total
}
