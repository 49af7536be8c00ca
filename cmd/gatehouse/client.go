package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"gatehouse/admin"
)

// client speaks to the private API of one node.
type client struct {
	http  *http.Client
	base  string // "http://gatehouse" on a socket
	place string // for messages: the socket or the URL
}

// newClient returns a client for the node that --admin or the data folder names.
func (s *session) newClient(timeout time.Duration) (*client, error) {
	place := s.admin
	if place == "" {
		cfg, err := s.loadConfig(nil)
		if cfg == nil {
			return nil, fmt.Errorf("to find the node's socket: %w", err)
		}
		place = cfg.Socket() // settings that are wrong are serve's business
	}
	if u, err := url.Parse(place); err == nil && (u.Scheme == "http" || u.Scheme == "https") {
		if u.Host == "" {
			return nil, usagef("--admin %s: the host is missing", place)
		}
		return &client{&http.Client{Timeout: timeout}, strings.TrimRight(place, "/"), place}, nil
	}
	path := strings.TrimPrefix(strings.TrimPrefix(place, "unix://"), "unix:")
	if strings.Contains(path, "://") || path == "" {
		return nil, usagef("--admin %s: want the path of a socket, or http://host:port", place)
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
		DisableKeepAlives: true, // a verb asks once or twice
	}
	return &client{&http.Client{Timeout: timeout, Transport: transport}, "http://gatehouse", path}, nil
}

// answerLimit bounds what a verb reads of an answer: a list of 100,000 vhosts fits.
const answerLimit = 256 << 20

// do sends a request and decodes the answer into out. An answer that is no 2xx is
// an error that says what the node said; a *nodeError.
func (c *client) do(ctx context.Context, method, path string, in, out any, header ...string) error {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", userAgent())
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, answerLimit))
	if err != nil {
		return c.unreachable(err)
	}
	if resp.StatusCode/100 != 2 {
		return c.refused(resp, raw)
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("%s answers what is not the API of a gatehouse: %w", c.place, err)
	}
	return nil
}

// ofHost is a path of the API for the vhost that answers for the host of a verb's arguments, or, without one, for all.
func ofHost(path string, args []string) string {
	if len(args) == 0 {
		return path
	}
	return path + "?host=" + url.QueryEscape(args[0])
}

// nodeError is what the node said no with.
type nodeError struct {
	status int
	body   []byte
	admin.Failure
}

func (e *nodeError) Error() string {
	lines := []string{e.Failure.Error}
	if len(e.Problems) > 1 {
		for _, p := range e.Problems[1:] {
			lines = append(lines, "  "+p.Error())
		}
	}
	return strings.Join(lines, "\n")
}

func (c *client) refused(resp *http.Response, raw []byte) error {
	e := &nodeError{status: resp.StatusCode, body: raw}
	if err := json.Unmarshal(raw, &e.Failure); err != nil || e.Failure.Error == "" {
		e.Failure.Error = fmt.Sprintf("%s answers %s", c.place, resp.Status)
		if e.status == http.StatusNotFound && strings.HasPrefix(c.place, "http") {
			e.Failure.Error += ": the operations listener only has metrics and health; name the socket instead (--admin PATH/gatehouse.sock)"
		}
	}
	return e
}

// unreachable says what to do about a node that does not answer.
func (c *client) unreachable(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s may not be opened: run this as the user that gatehouse serve runs as", c.place)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no node answers on %s: is gatehouse serve running? (run this in its folder, or name it with -c FILE or --admin)", c.place)
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("the node on %s did not answer in time", c.place)
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return fmt.Errorf("ask the node on %s: %w", c.place, err)
}
