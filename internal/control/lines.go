package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// line is one of a long answer: an item, or how the answer ended.
type line[T any] struct {
	Item  *T     `json:"item,omitempty"`
	Done  bool   `json:"done,omitempty"`
	Error string `json:"error,omitempty"`
}

var errEnded = errors.New("the mount ended before it was done")

// answering reads a request and has do write its answer, a line of JSON at a
// time, from any goroutine. The context of do ends when the caller goes away.
func answering[R any](do func(ctx context.Context, who Caller, r R, write func(any) error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who, conn := callerOf(r), http.NewResponseController(w)
		most, hear := int64(maxBody), time.Duration(0)
		if !privileged(who.UID) {
			most, hear = maxOthersBody, hearFor
		}
		_ = conn.SetReadDeadline(time.Now().Add(askFor)) // of a socket it can't fail
		var req R
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, most)).Decode(&req); err != nil {
			var large *http.MaxBytesError
			if errors.As(err, &large) {
				err = fmt.Errorf("the request is larger than %d bytes; name fewer paths at once", large.Limit)
			}
			fail(w, http.StatusBadRequest, err)
			return
		}
		_ = conn.SetReadDeadline(time.Time{})
		w.Header().Set("Content-Type", "application/x-ndjson")
		out := json.NewEncoder(w)
		var mu sync.Mutex // held while a line is written, for the whole of it
		do(r.Context(), who, req, func(line any) error {
			mu.Lock()
			defer mu.Unlock()
			if hear > 0 {
				_ = conn.SetWriteDeadline(time.Now().Add(hear))
			}
			if err := out.Encode(line); err != nil {
				return err
			}
			return conn.Flush()
		})
	}
}

// lines answers a request with what do reports, from any goroutine, a line
// each.
func lines[R, T any](do func(ctx context.Context, uid uint32, r R, report func(T) error) error) http.HandlerFunc {
	return answering(func(ctx context.Context, who Caller, r R, write func(any) error) {
		err := do(ctx, who.UID, r, func(item T) error { return write(line[T]{Item: &item}) })
		if err != nil && ctx.Err() != nil {
			err = errEnded // or the caller is gone, and it does not matter what is said
		}
		if err != nil {
			_ = write(line[T]{Error: err.Error()})
			return
		}
		_ = write(line[T]{Done: true})
	})
}

// stream sends a request and calls each for every item of its answer.
func stream[T any](ctx context.Context, c *Client, path string, req any, each func(T) error) error {
	r, err := c.do(ctx, http.MethodPost, path, req)
	if err != nil {
		return err
	}
	defer r.Close()
	for in := json.NewDecoder(r); ; {
		var l line[T]
		if err := in.Decode(&l); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				err = errEnded
			}
			return err
		}
		switch {
		case l.Error != "":
			return errors.New(l.Error)
		case l.Done:
			return nil
		case l.Item == nil:
			continue
		}
		if err := each(*l.Item); err != nil {
			return err
		}
	}
}
