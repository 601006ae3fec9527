package fs

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// fileHandle is one open file. There is only this type, because go-fuse hands
// out the backing file of an inode by the type of the handle.
type fileHandle struct {
	m       *mount
	file    File
	size    int64
	backing *os.File // of the File, when the kernel is to read it
}

var (
	_ gofs.FileReader          = (*fileHandle)(nil)
	_ gofs.FileReleaser        = (*fileHandle)(nil)
	_ gofs.FileFlusher         = (*fileHandle)(nil)
	_ gofs.FileFsyncer         = (*fileHandle)(nil)
	_ gofs.FileLseeker         = (*fileHandle)(nil)
	_ gofs.FilePassthroughFder = (*fileHandle)(nil)
)

// PassthroughFd reports what Open decided.
func (h *fileHandle) PassthroughFd() (int, bool) {
	if h.backing == nil {
		return 0, false
	}
	return int(h.backing.Fd()), true
}

// Read returns all that was asked for, up to the end of the file, or an error:
// the kernel takes a short answer for the end.
func (h *fileHandle) Read(ctx context.Context, p []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if off >= h.size {
		return fuse.ReadResultData(nil), 0
	}
	p = p[:min(int64(len(p)), h.size-off)]
	r := h.m.request(ctx)
	r.read = true
	defer r.finish()
	n, err := h.file.ReadAt(r, p, off)
	if n == len(p) {
		return fuse.ReadResultData(p), 0
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return nil, r.fileErrno(err)
}

func (h *fileHandle) Release(context.Context) syscall.Errno {
	if err := h.file.Close(); err != nil {
		h.m.log.Warn("closing a file failed", "error", err)
	}
	return 0
}

// What is answered ENOSYS is not asked again by the kernel, which does the
// right thing by itself: nothing to flush, nothing to sync, no holes.

func (h *fileHandle) Flush(context.Context) syscall.Errno         { return syscall.ENOSYS }
func (h *fileHandle) Fsync(context.Context, uint32) syscall.Errno { return syscall.ENOSYS }

func (h *fileHandle) Lseek(context.Context, uint64, uint32) (uint64, syscall.Errno) {
	return 0, syscall.ENOSYS
}
