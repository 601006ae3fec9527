package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// The loads are what programs do to a folder, whichever file system it is on.

// readFile reads a file from front to back, as cat does.
func readFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, mib)
	for {
		_, err := f.Read(buf)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// readTail reads the last n bytes of a file.
func readTail(name string, n int64) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	got, err := io.Copy(io.Discard, io.NewSectionReader(f, info.Size()-n, n))
	if err == nil && got != n {
		err = fmt.Errorf("%s: %d bytes came, want %d", name, got, n)
	}
	return err
}

// readFirst reads the first byte of a file.
func readFirst(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.ReadAt(make([]byte, 1), 0)
	return err
}

// readRandom reads n blocks of 4 KiB at random places.
func readRandom(name string, n int) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	src := rand.New(rand.NewPCG(1, 2))
	buf := make([]byte, 4096)
	for range n {
		if _, err := f.ReadAt(buf, src.Int64N(info.Size()/4096)*4096); err != nil {
			return err
		}
	}
	return nil
}

// statAll asks for the attributes of every name in turn.
func statAll(names []string, times int) error {
	for range times {
		for _, n := range names {
			if _, err := os.Lstat(n); err != nil {
				return err
			}
		}
	}
	return nil
}

// readAll reads all files, each by a thread of its own.
func readAll(names []string) error {
	var wg sync.WaitGroup
	errs := make([]error, len(names))
	for i, n := range names {
		wg.Go(func() { errs[i] = readFile(n) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// dropPages empties the page cache of the whole machine.
func dropPages() error {
	unix.Sync()
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte("1\n"), 0)
}
