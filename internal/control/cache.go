package control

import (
	"context"
	"net/http"
	"time"
)

// CacheFile is one file of which something is held.
type CacheFile struct {
	Path    string    `json:"path"` // below the mirror as shown
	Size    int64     `json:"size"`
	Held    int64     `json:"held"`
	Whole   bool      `json:"whole"` // and confirmed by the server
	Disk    int64     `json:"disk"`  // bytes it takes
	Pinned  bool      `json:"pinned"`
	Open    int       `json:"open"` // handles on it
	Fetched time.Time `json:"fetched,omitzero"`
	Used    time.Time `json:"used,omitzero"`
}

// CacheChecked is what came of verifying one file.
type CacheChecked struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`           // compared; 0: it has no checksum yet
	Error string `json:"error,omitempty"` // it was damaged, and given up
}

// RoomRequest asks for room.
type RoomRequest struct {
	All bool   `json:"all,omitempty"` // give up everything, pinned or not
	To  *int64 `json:"to,omitempty"`  // bytes that may stay; nil: what the mount's bounds say
}

// Room is what was made of it.
type Room struct {
	Freed int64 `json:"freed"`
	Used  int64 `json:"used"`   // now
	Files int   `json:"files"`  // now
	InUse int   `json:"in_use"` // of them, open ones that had to stay
}

// CacheFiles calls each for every file that is held, by path.
func (c *Client) CacheFiles(ctx context.Context, each func(CacheFile) error) error {
	return stream(ctx, c, "/v1/cache/files", struct{}{}, each)
}

// CacheVerify has what is held read and compared with its checksums, and calls
// each for every file.
func (c *Client) CacheVerify(ctx context.Context, each func(CacheChecked) error) error {
	return stream(ctx, c, "/v1/cache/verify", struct{}{}, each)
}

// CacheRoom has room made.
func (c *Client) CacheRoom(ctx context.Context, r RoomRequest) (Room, error) {
	var room Room
	err := stream(ctx, c, "/v1/cache/room", r, func(made Room) error { room = made; return nil })
	return room, err
}

func (s *Server) cacheFiles() http.HandlerFunc {
	return lines(func(ctx context.Context, uid uint32, _ struct{}, report func(CacheFile) error) error {
		return s.mount.CacheFiles(ctx, uid, report)
	})
}

func (s *Server) cacheVerify() http.HandlerFunc {
	return lines(func(ctx context.Context, uid uint32, _ struct{}, report func(CacheChecked) error) error {
		return s.mount.CacheVerify(ctx, uid, report)
	})
}

func (s *Server) cacheRoom() http.HandlerFunc {
	return lines(func(ctx context.Context, uid uint32, r RoomRequest, report func(Room) error) error {
		room, err := s.mount.CacheRoom(ctx, uid, r)
		if err != nil {
			return err
		}
		return report(room)
	})
}
