package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
)

// line is one of a long answer: an item, or how the answer ended.
type line[T any] struct {
	Item  *T     `json:"item,omitempty"`
	Done  bool   `json:"done,omitempty"`
	Error string `json:"error,omitempty"`
}

var errEnded = errors.New("the mount ended before it was done")

// lines answers a request with what do reports, from any goroutine, a line
// each. The context of do ends when the caller goes away.
func lines[R, T any](do func(ctx context.Context, uid uint32, r R, report func(T) error) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		uid, ok := r.Context().Value(uidKey{}).(uint32)
		if !ok {
			fail(w, http.StatusForbidden, errors.New("the caller is not known"))
			return
		}
		var req R
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&req); err != nil {
			fail(w, http.StatusBadRequest, err)
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		out, flush := json.NewEncoder(w), http.NewResponseController(w)
		var mu sync.Mutex // held while a line is written, for the whole of it
		write := func(l line[T]) error {
			mu.Lock()
			defer mu.Unlock()
			if err := out.Encode(l); err != nil {
				return err
			}
			return flush.Flush()
		}
		err := do(r.Context(), uid, req, func(item T) error { return write(line[T]{Item: &item}) })
		if err != nil && r.Context().Err() != nil {
			err = errEnded // or the caller is gone, and it does not matter what is said
		}
		if err != nil {
			_ = write(line[T]{Error: err.Error()})
			return
		}
		_ = write(line[T]{Done: true})
	}
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
