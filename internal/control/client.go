package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
)

// Client speaks to one running mount.
type Client struct {
	path string
	http *http.Client
}

// NewClient returns a client of the mount whose socket is at path.
func NewClient(path string) *Client {
	return &Client{path, &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, path) },
	}}}
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// PID returns the process that answers, without asking it anything.
func (c *Client) PID(ctx context.Context) (int, error) {
	conn, err := dial(ctx, c.path)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	cred, err := peer(conn)
	if err != nil {
		return 0, err
	}
	return int(cred.Pid), nil
}

// Status asks how the mount is doing.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	r, err := c.do(ctx, http.MethodGet, "/v1/status", nil)
	if err != nil {
		return s, err
	}
	defer r.Close()
	return s, json.NewDecoder(r).Decode(&s)
}

// Refresh has directories listed again and calls each for every line of the
// answer, Done excepted. An error of each ends it.
func (c *Client) Refresh(ctx context.Context, req RefreshRequest, each func(Change) error) error {
	r, err := c.do(ctx, http.MethodPost, "/v1/refresh", req)
	if err != nil {
		return err
	}
	defer r.Close()
	for lines := json.NewDecoder(r); ; {
		var change Change
		if err := lines.Decode(&change); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				err = errors.New("the mount ended before it was done")
			}
			return err
		}
		if change.What == Done {
			return nil
		}
		if err := each(change); err != nil {
			return err
		}
	}
}

func (c *Client) do(ctx context.Context, method, path string, body any) (io.ReadCloser, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://mirrorfs"+path, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	r, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if r.StatusCode == http.StatusOK {
		return r.Body, nil
	}
	defer r.Body.Close()
	var f failure
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<16)).Decode(&f); err != nil || f.Error == "" {
		return nil, fmt.Errorf("the mount answered %s", r.Status)
	}
	return nil, errors.New(f.Error)
}
