package main

import (
	"context"
	"errors"
	"os"
	"slices"

	"github.com/mirrorfs/mirrorfs/cache"
	"github.com/mirrorfs/mirrorfs/cache/content"
	"github.com/mirrorfs/mirrorfs/internal/control"
)

var errNotOwner = errors.New("only the user who mounted it, or root, may do that")

// mayManage reports whether a user may decide what stays in this process's cache.
func mayManage(uid uint32) bool { return uid == 0 || int(uid) == os.Geteuid() }

// Admit lets in whoever may read the mount: its owner, root, and with
// --allow-other those whom the modes let into its directories.
func (c *controls) Admit(who control.Caller) error {
	if mayManage(who.UID) {
		return nil
	}
	if !c.plan.allowOther {
		return errors.New("it is mounted without --allow-other: only the user who mounted it, or root, may ask it")
	}
	const readAndPass = 5
	bits := 0o777 &^ uint32(c.plan.umask)
	switch {
	case who.UID == c.plan.uid.n:
		bits >>= 6
	case slices.Contains(who.Groups, c.plan.gid.n):
		bits >>= 3
	}
	if bits&readAndPass != readAndPass {
		return errors.New("by its permissions (--uid, --gid, --umask) you may not read it, so you may not ask it either")
	}
	return nil
}

func (c *controls) CacheFiles(ctx context.Context, _ uint32, report func(control.CacheFile) error) error {
	return heldFiles(ctx, c.cache, report)
}

// CacheVerify gives up what is damaged, which is not for everybody.
func (c *controls) CacheVerify(ctx context.Context, uid uint32, report func(control.CacheChecked) error) error {
	if !mayManage(uid) {
		return errNotOwner
	}
	return verifyHeld(ctx, c.cache, report)
}

func (c *controls) CacheRoom(_ context.Context, uid uint32, r control.RoomRequest) (control.Room, error) {
	if !mayManage(uid) {
		return control.Room{}, errNotOwner
	}
	return makeRoom(c.cache, r, c.cache.Content().Stats().Evicted), nil
}

// heldFiles reports what a cache holds.
func heldFiles(ctx context.Context, c *cache.Cache, report func(control.CacheFile) error) error {
	names := c.Names()
	for _, f := range c.Content().Files() {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := report(control.CacheFile{
			Path: names.Shown(f.Path), Size: f.Version.Size, Held: f.Held, Whole: f.Whole,
			Disk: f.Disk, Pinned: f.Pinned, Open: f.Handles, Fetched: f.Fetched, Used: f.Used,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// verifyHeld reports what of a cache is still right.
func verifyHeld(ctx context.Context, c *cache.Cache, report func(control.CacheChecked) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	names := c.Names()
	err := c.Content().Verify(ctx, func(v content.Verified) {
		checked := control.CacheChecked{Path: names.Shown(v.Path), Bytes: v.Bytes}
		if v.Err != nil {
			checked.Error = oneLine(v.Err)
		}
		if err := report(checked); err != nil {
			cancel(err)
		}
	})
	if cause := context.Cause(ctx); err == nil && cause != nil {
		err = cause
	}
	return err
}

// makeRoom gives up what was asked for. evicted is how much the store had given
// up before, which does not count.
func makeRoom(c *cache.Cache, r control.RoomRequest, evicted int64) control.Room {
	var room control.Room
	if r.All {
		_, room.InUse = c.Content().Clear()
	} else {
		c.Content().MakeRoom()
		if r.To != nil {
			c.Shrink(*r.To)
		}
	}
	s := c.Content().Stats()
	room.Freed, room.Used, room.Files = s.Evicted-evicted, s.Used, s.Files
	return room
}
