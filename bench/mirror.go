package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// The generated mirror. Contents are pseudo-random, so that nothing on the way
// can compress them, and the same in every run.
const (
	mib = 1 << 20
	gib = 1 << 30

	bigFile    = "big/1g.bin"
	mediumFile = "big/256m.bin"
	manyDir    = "many" // manyCount empty-ish files: the directory that `ls -l` shows
	manyCount  = 20000
	treeDir    = "tree" // treeDirs folders with treeFiles files in all: what `find` walks
	treeDirs   = 110    // and tree itself is the 111th
	treeFiles  = 2000
	spreadDir  = "spread" // 20 small files in 20 folders
	spreadN    = 20
	bookDir    = "books" // 13 books, one folder each
	bookN      = 13
	deepDir    = "a/b/c/huge" // hugeCount entries, four levels down
	hugeCount  = 43000
)

func spreadFile(i int) string { return fmt.Sprintf("%s/d%02d/image%02d.jpg", spreadDir, i, i) }
func bookFile(i int) string   { return fmt.Sprintf("%s/%d/%d-0.txt", bookDir, 1340+i, 1340+i) }
func deepFile() string        { return fmt.Sprintf("%s/f%05d.dbc", deepDir, hugeCount/2) }

// makeMirror fills root, which must be empty.
func makeMirror(root string) error {
	m := maker{root: root}
	m.file(bigFile, gib)
	m.file(mediumFile, 256*mib)
	for i := range manyCount {
		m.file(fmt.Sprintf("%s/RDSP%05d.dbc", manyDir, i), int64(i%97))
	}
	for i := range treeFiles {
		d := i % (treeDirs + 1)
		dir := treeDir
		if d > 0 {
			dir = fmt.Sprintf("%s/%c/d%03d", treeDir, 'a'+(d-1)%10, d)
		}
		m.file(fmt.Sprintf("%s/f%04d.dbc", dir, i), 1+int64(i%512))
	}
	for i := range spreadN {
		m.file(spreadFile(i), 40<<10)
	}
	for i := range bookN {
		m.file(bookFile(i), 600<<10)
	}
	for i := range hugeCount {
		m.file(fmt.Sprintf("%s/f%05d.dbc", deepDir, i), 100)
	}
	return m.err
}

type maker struct {
	root string
	err  error // the first; later calls do nothing
}

func (m *maker) file(path string, size int64) {
	if m.err != nil {
		return
	}
	m.err = writeRandom(filepath.Join(m.root, path), size)
}

func writeRandom(name string, size int64) (err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	w := bufio.NewWriterSize(f, mib)
	src := rand.NewChaCha8([32]byte{byte(size), byte(size >> 8), byte(size >> 16)})
	buf := make([]byte, 64<<10)
	for left := size; left > 0; {
		n := min(left, int64(len(buf)))
		src.Read(buf[:n]) // never fails
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		left -= n
	}
	return w.Flush()
}
