package fs

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// mount is what all nodes of one mount share.
type mount struct {
	mirror     Mirror
	options    Options
	log        *slog.Logger
	callers    *callers
	nodes      *table
	generation atomic.Uint64 // of nodes
	through    passthrough

	watchers sync.WaitGroup // of requests that wait
	device   int            // a descriptor of the connection, open while watchers run
	ended    atomic.Bool    // nothing is served any more
}

// gone reports whether the kernel has given the mount up. Requests that are
// under way then have nobody to answer to.
func (m *mount) gone() bool {
	if m.ended.Load() {
		return true
	}
	p := []unix.PollFd{{Fd: int32(m.device)}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0
}

// Server is a mounted mirror. Its goroutines (go-fuse's, which answer the
// kernel, and those of requests that wait) end when it is unmounted, by whom
// ever; Wait joins them.
type Server struct {
	m      *mount
	dir    string // as the mount table spells it
	device string // MAJOR:MINOR
	done   chan struct{}
}

// maxBackground is how many reads the kernel may have under way. With go-fuse's
// 12, readers that wait for a slow server keep those of cached files waiting.
const maxBackground = 1024

// Mount mounts m on dir and returns when the kernel's requests are answered.
// The error is a *MountError; nothing is left behind then. The Mirror must
// live until Wait returns.
//
// The process must not use the mount itself, and Mount does not: the kernel
// has all it needs once it was answered the first request, INIT.
func Mount(dir string, m Mirror, o Options) (*Server, error) {
	real, err := prepare(dir, o.AllowNonEmpty)
	if err != nil {
		return nil, err
	}
	fd, err := attach(real, o)
	if err != nil {
		return nil, err
	}
	s, err := serve(real, fd, m, o)
	if err != nil {
		detach(real)
		return nil, &MountError{Op: "mount", Dir: dir, Err: err}
	}
	return s, nil
}

// serve answers the kernel on the connection fd, which it owns.
func serve(dir string, fd int, mirror Mirror, o Options) (*Server, error) {
	m := &mount{mirror: mirror, options: o, log: o.Log, callers: newCallers(o.NoFetchFor), nodes: newTable()}
	// go-fuse closes fd; what watches the connection needs its own.
	watch, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	m.device = watch
	root := newDirNode(m, "", "")
	root.mtime.Store(time.Now().Unix())
	options := nodeOptions(o)
	server, err := fuse.NewServer(newKernel(root, m, options), fmt.Sprintf("/dev/fd/%d", fd), &options.MountOptions)
	if err != nil {
		unix.Close(watch)
		return nil, err
	}
	m.through.probe(server, o.CacheDir)

	s := &Server{m: m, dir: dir, done: make(chan struct{})}
	s.findDevice()
	go func() {
		defer close(s.done)
		server.Serve()
		m.ended.Store(true)
		m.watchers.Wait()
		unix.Close(watch)
		s.clear()
	}()
	return s, nil
}

func nodeOptions(o Options) *gofs.Options {
	quiet := log.New(logWriter{o.Log}, "", 0)
	return &gofs.Options{
		MountOptions: fuse.MountOptions{
			Name:                     subtype,
			FsName:                   o.URL,
			MaxBackground:            maxBackground,
			MaxWrite:                 maxRead,
			MaxStackDepth:            2, // a cache on overlayfs may be passed through too
			ExplicitDataCacheControl: true,
			EnableSymlinkCaching:     true,
			DisableSplice:            true,
			ExtraCapabilities:        fuse.CAP_READDIRPLUS_AUTO,
			Logger:                   quiet,
			PanicHandler: func(v any) fuse.Status {
				o.Log.Error("a request failed in a way that is a bug", "panic", v, "stack", string(debug.Stack()))
				return fuse.EIO
			},
		},
		NullPermissions: true,
		RootStableAttr:  &gofs.StableAttr{Ino: rootIno},
		Logger:          quiet,
	}
}

// findDevice learns the mount's device number from the mount table, and raises
// its read-ahead.
func (s *Server) findDevice() {
	table, err := mountTable()
	if err != nil {
		return
	}
	at, ok := mountedAt(table, s.dir)
	if !ok {
		return
	}
	s.device = at.device
	ahead := s.m.options.ReadAhead
	if ahead == 0 {
		ahead = defaultReadAhead
	}
	if err := raiseReadAhead(s.device, ahead); err != nil {
		s.m.log.Debug("the kernel's read-ahead stays as it is", "error", err)
	}
}

// Passthrough reports whether whole files are read by the kernel itself, and
// if not, why.
func (s *Server) Passthrough() (on bool, why string) {
	if s.m.through.on.Load() {
		return true, ""
	}
	why, _ = s.m.through.reason.Load().(string)
	return false, why
}

// Nodes is how many files and directories the kernel knows at the moment. Each
// takes memory until the kernel, short of memory itself, forgets it.
func (s *Server) Nodes() int { return s.m.nodes.count() }

// Dir is where the mirror is mounted now, "" when it is not.
func (s *Server) Dir() string {
	table, err := mountTable()
	if err != nil {
		return ""
	}
	at, ok := mountOf(table, s.device)
	// The kernel gives the number of a mount that is gone to the next one, be it
	// of another process. While the connection lives, it is ours.
	if !ok || s.m.gone() {
		return ""
	}
	return at.dir
}

// clear takes away the mount that an aborted connection leaves behind.
func (s *Server) clear() {
	table, err := mountTable()
	if err != nil {
		return
	}
	if at, ok := mountedAt(table, s.dir); ok && at.device == s.device && at.fsType == fsType && dead(s.dir) {
		if err := detach(s.dir); err != nil {
			s.m.log.Warn("a mount without a process is left behind", "dir", s.dir, "error", err)
		}
	}
}

// lingers is how long the kernel may take to let go of a mount that was just
// unmounted, while another mount namespace, as of a service that starts, has a
// copy of it for a moment.
const lingers = 2 * time.Second

// Unmount takes the mount away and waits until all is answered. While something
// uses it, it fails with a *MountError of the reason Busy: programs with files
// open in it, also after somebody took it out of the tree (umount -l), or a
// copy of it in another mount namespace.
func (s *Server) Unmount() error {
	if dir := s.Dir(); dir != "" {
		if err := unmount(dir); err != nil {
			return err
		}
		select {
		case <-s.done:
		case <-time.After(lingers):
		}
	}
	if !s.m.gone() {
		return &MountError{Op: "unmount", Dir: s.dir, Reason: Busy, Err: unix.EBUSY,
			Advice: "It has left the folder, but programs have files open in it, or another mount namespace has a copy of it."}
	}
	s.Wait()
	return nil
}

// Abandon takes the mount out of the tree although it is used, and breaks off
// what uses it, wherever: its files give errors from now on, and Wait returns.
// Of a mount that is not root's, or that has left the tree, only the kernel's
// control files (/sys/fs/fuse/connections) can break it off; where they are
// missing it is served until its files are closed or this process ends.
func (s *Server) Abandon() error {
	var err error
	if dir := s.Dir(); dir != "" {
		err = abandon(dir)
	}
	if !s.m.gone() {
		if e := abort(s.device); e != nil {
			s.m.log.Warn("the mount is served on", "error", e)
		}
	}
	return err
}

// Wait returns when the mount is gone, no file of it is open any more, and all
// goroutines have ended.
func (s *Server) Wait() { <-s.done }

// Done is closed when Wait would return.
func (s *Server) Done() <-chan struct{} { return s.done }

// logWriter brings go-fuse's messages into the log.
type logWriter struct{ log *slog.Logger }

func (w logWriter) Write(p []byte) (int, error) {
	w.log.Log(context.Background(), slog.LevelDebug, "fuse", "message", string(bytes.TrimSpace(p)))
	return len(p), nil
}
