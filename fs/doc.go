// Package fs shows a mirror to the kernel: it answers FUSE requests from what
// a Mirror knows, and turns its errors into errnos. It is the only package
// that knows go-fuse.
//
// # Inodes
//
// A file's inode is one (path, version, generation, mode). The version says
// which content it has, as far as the server tells: that of a minute may be of
// two. The generation, known from the first open on, tells those apart by what
// was fetched. So an inode's bytes, size and times never change, and whatever
// the kernel caches of it stays right for as long as it lives. When the server's
// file is replaced, or its content has to be fetched anew because it was evicted
// or found damaged, the path leads to another inode; old handles and mappings
// keep the old one. The mode says how its handles read: cached (the kernel
// asks us and keeps the pages) or passthrough (the kernel reads the cache file
// itself). The kernel refuses to mix the two on one inode, so each has its own.
//
// A path is moved from one inode to the next by answering ESTALE to the open
// of the old one: the kernel then looks the name up again by itself, gets the
// new inode and opens that; the program sees nothing of it. A reopen through
// /proc/self/fd has no name to look up. It is answered ESTALE once for a
// change of mode and then served by the old inode, whose bytes are the same;
// for a change of version or generation ESTALE is the honest answer.
//
// Directories have an inode per spelling of their path, because the kernel
// knows a directory under one name only; all have the same inode number.
//
// Inode numbers are a hash of the server's path, so that they are the same in
// listings, in stat and after a remount. They identify nothing: what tells
// inodes apart is the generation number, from a counter.
//
// # Kernel caches
//
// Names, and the knowledge that a name is absent, are given to the kernel for
// what is left of their listing's freshness. Nothing is ever taken back:
// expiry and ESTALE suffice, so no request ever waits for a notification.
//
// # Waiting
//
// Requests wait for the Mirror with a context that ends when the caller is
// really being interrupted (a signal that would end it is pending) or the
// mount is gone. Requests on what is held never wait: getattr and statfs do
// not ask the Mirror for anything that could.
//
// Locks: a directory handle's (go-fuse's) → table.mu. No call to the Mirror is
// made under table.mu. Goroutines: the server's (see Server) and one for each
// request that waits, ended with it.
package fs
