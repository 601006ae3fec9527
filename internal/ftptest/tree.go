package ftptest

import (
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Kind tells files, directories and symbolic links apart.
type Kind uint8

// The kinds of entries.
const (
	File Kind = iota
	Dir
	Symlink
)

// Entry is one file, directory or link, and the lies the server tells about it.
type Entry struct {
	Name    string // one path element, raw bytes; set by the tree
	Kind    Kind
	Content Content // of a File; nil is an empty one
	Target  string  // of a Symlink
	ModTime time.Time
	Perm    uint32 // 0: 0644 for files, 0755 for directories, 0777 for links

	Line     string // sent in LIST instead of the true line, without CRLF
	Facts    string // sent in MLSD and MLST instead of the true facts, without the name
	ListSize string // the size that listings show; "-" leaves it out of MLSD
	Refuse   string // the reply to RETR, CWD and LIST: "550 Permission denied."
	Hidden   bool   // opens, but is not listed
}

// Size is the number of bytes in a file.
func (e *Entry) Size() int64 {
	if e.Content == nil {
		return 0
	}
	return e.Content.Size()
}

// Tree is the files a Server shows. Paths are raw bytes as they go over the
// wire, joined by "/"; a leading "/" changes nothing and "" is the root. All
// methods may be called at any time, while servers serve the tree too.
type Tree struct {
	mu   sync.RWMutex // guards all nodes; leaf lock
	root *node
}

// node is an entry at its place. Put makes a new node, so that a transfer under
// way goes on with the old file, as it does after a rename on a real server.
type node struct {
	Entry
	children map[string]*node
	sorted   []*node                  // children by name; nil when out of date
	lazy     func(dir string) []Entry // makes up everything below
	lazyPath string                   // where in the made-up part this is
}

// NewTree returns a tree with an empty root.
func NewTree() *Tree {
	return &Tree{root: &node{Entry: Entry{Kind: Dir, ModTime: time.Unix(1700000000, 0)}}}
}

// WriteFile puts a file with these bytes, replacing what was there.
func (t *Tree) WriteFile(p string, data []byte, mtime time.Time) {
	t.Put(p, Entry{Content: Bytes(data), ModTime: mtime})
}

// Generate puts a file of made-up bytes (see Generated).
func (t *Tree) Generate(p string, size int64, seed uint64, mtime time.Time) {
	t.Put(p, Entry{Content: Generated(size, seed), ModTime: mtime})
}

// Mkdir puts an empty directory, unless there is a directory already, which then
// only gets the time.
func (t *Tree) Mkdir(p string, mtime time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.make(p, func(old *node) *node {
		if old != nil && old.Kind == Dir {
			return old
		}
		return &node{Entry: Entry{Kind: Dir}}
	})
	n.ModTime = mtime
}

// Symlink puts a symbolic link.
func (t *Tree) Symlink(p, target string, mtime time.Time) {
	t.Put(p, Entry{Kind: Symlink, Target: target, ModTime: mtime})
}

// Lazy puts a directory whose entries, and those of every directory below it,
// are made up when asked: list gets the path relative to p ("" is p itself) and
// must answer the same each time. Nothing of it is kept, so it may be any size.
func (t *Tree) Lazy(p string, mtime time.Time, list func(dir string) []Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.make(p, func(*node) *node {
		return &node{Entry: Entry{Kind: Dir, ModTime: mtime}, lazy: list}
	})
}

// Put places an entry, replacing what was there; missing parents are made.
// Transfers under way go on with the old content.
func (t *Tree) Put(p string, e Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.make(p, func(*node) *node { return &node{Entry: e} })
}

// Overwrite changes a file's content in place: transfers under way go on in the
// new bytes, as they do when a server's file is written over.
func (t *Tree) Overwrite(p string, c Content, mtime time.Time) {
	t.Edit(p, func(e *Entry) { e.Content, e.ModTime = c, mtime })
}

// Edit changes an entry in place and tells whether there was one. Made-up
// entries (Lazy) cannot be edited. f must not call the tree.
func (t *Tree) Edit(p string, f func(*Entry)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.walk(p, nil)
	if n == nil || n.lazyPath != "" {
		return false
	}
	name := n.Name
	f(&n.Entry)
	n.Name = name
	return true
}

// Remove takes away an entry and all below it.
func (t *Tree) Remove(p string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	dir, name := split(p)
	if d := t.walk(dir, nil); d != nil && d.children[name] != nil {
		delete(d.children, name)
		d.sorted = nil
	}
}

// Stat returns an entry; links are not followed.
func (t *Tree) Stat(p string) (Entry, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if n := t.walk(p, nil); n != nil {
		return n.Entry, true
	}
	return Entry{}, false
}

// Content returns what a file holds now: the truth that a client's bytes are
// compared with. It is nil when there is no such file.
func (t *Tree) Content(p string) Content {
	e, ok := t.Stat(p)
	switch {
	case !ok || e.Kind != File:
		return nil
	case e.Content == nil:
		return Bytes(nil)
	}
	return e.Content
}

// ReadFile returns what a file holds now, nil when there is no such file.
func (t *Tree) ReadFile(p string) []byte {
	c := t.Content(p)
	if c == nil {
		return nil
	}
	b := make([]byte, c.Size())
	if _, err := c.ReadAt(b, 0); err != nil && err != io.EOF {
		panic("ftptest: content of " + p + ": " + err.Error())
	}
	return b
}

// List returns a directory's entries by name, hidden ones too.
func (t *Tree) List(p string) []Entry {
	n := t.lookup(p, false)
	if n == nil {
		return nil
	}
	return t.entries(n)
}

// make puts the node that f returns for the one at p (nil if none). Callers hold mu.
func (t *Tree) make(p string, f func(old *node) *node) *node {
	p = clean(p)
	if p == "" {
		n := f(t.root)
		n.Name = ""
		t.root = n
		return n
	}
	dir, name := split(p)
	d := t.walk(dir, nil)
	if d == nil || d.Kind != Dir {
		d = t.make(dir, func(*node) *node {
			return &node{Entry: Entry{Kind: Dir, ModTime: time.Unix(1700000000, 0)}}
		})
	}
	if d.lazy != nil {
		panic("ftptest: " + p + " is inside a made-up directory")
	}
	if d.children == nil {
		d.children = make(map[string]*node)
	}
	old := d.children[name]
	n := f(old)
	n.Name = name
	if old != n {
		d.children[name] = n
		d.sorted = nil
	}
	return n
}

// walk finds a node without following links; fold, if any, makes names equal
// that differ in case. Callers hold mu.
func (t *Tree) walk(p string, fold func(string) string) *node {
	n := t.root
	for p = clean(p); p != ""; {
		name, rest, _ := strings.Cut(p, "/")
		if n = n.child(name, fold); n == nil {
			return nil
		}
		p = rest
	}
	return n
}

func (n *node) child(name string, fold func(string) string) *node {
	if n.lazy != nil {
		for _, e := range n.lazy(n.lazyPath) {
			if e.Name == name || fold != nil && fold(e.Name) == fold(name) {
				c := &node{Entry: e, lazyPath: path.Join(n.lazyPath, e.Name)}
				if e.Kind == Dir {
					c.lazy = n.lazy
				}
				return c
			}
		}
		return nil
	}
	if c := n.children[name]; c != nil || fold == nil {
		return c
	}
	want := fold(name)
	for other, c := range n.children {
		if fold(other) == want {
			return c
		}
	}
	return nil
}

// lookup finds the node at p, following no link in the last element.
func (t *Tree) lookup(p string, ignoreCase bool) *node {
	var f func(string) string
	if ignoreCase {
		f = fold
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.walk(p, f)
}

// entry returns a copy of what a node says now.
func (t *Tree) entry(n *node) Entry {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return n.Entry
}

// entries returns copies of a directory's children by name.
func (t *Tree) entries(n *node) []Entry {
	t.mu.Lock()
	if n.lazy != nil {
		list, dir := n.lazy, n.lazyPath
		t.mu.Unlock()
		return list(dir)
	}
	defer t.mu.Unlock()
	if n.sorted == nil {
		n.sorted = make([]*node, 0, len(n.children))
		for _, c := range n.children {
			n.sorted = append(n.sorted, c)
		}
		slices.SortFunc(n.sorted, func(a, b *node) int { return strings.Compare(a.Name, b.Name) })
	}
	out := make([]Entry, len(n.sorted))
	for i, c := range n.sorted {
		out[i] = c.Entry
	}
	return out
}

// clean makes a path relative to the root, without "." and "..".
func clean(p string) string { return strings.TrimPrefix(path.Clean("/"+p), "/") }

// split returns the parent and the last element of a path.
func split(p string) (dir, name string) {
	dir, name = path.Split(clean(p))
	return strings.TrimSuffix(dir, "/"), name
}

// fold makes names equal that a Windows server takes for the same.
func fold(name string) string {
	if utf8.ValidString(name) {
		return strings.ToLower(name)
	}
	b := []byte(name) // windows-1252
	for i, c := range b {
		if 'A' <= c && c <= 'Z' || 0xc0 <= c && c <= 0xde && c != 0xd7 {
			b[i] = c + 0x20
		}
	}
	return string(b)
}
