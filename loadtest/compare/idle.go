package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"gatehouse/loadtest/report"
)

const (
	idleConnections = 2000
	idleSeconds     = 5
)

// idle finds out what connections cost that do nothing after one request each: the
// growth of memory, and CPU time while nothing happens.
func (st *station) idle(ctx context.Context, s scenario) (report.Sample, error) {
	if have := st.bed.settings.Descriptors; have < idleConnections+100 {
		return report.Sample{}, fmt.Errorf("%d connections need more than the %d that the limit of open files leaves: raise it (ulimit -n)", idleConnections, have)
	}
	// What the first request brings into memory is none of the connections' doing.
	if err := st.try(ctx, s); err != nil {
		return report.Sample{}, err
	}
	if err := st.settle(ctx); err != nil {
		return report.Sample{}, err
	}
	before, err := st.usage()
	if err != nil {
		return report.Sample{}, err
	}
	connections, err := st.openIdle(ctx, s)
	defer func() {
		for _, c := range connections {
			c.Close()
		}
	}()
	if err != nil {
		return report.Sample{}, err
	}
	pause(ctx, time.Second)
	start, err := st.usage()
	if err != nil {
		return report.Sample{}, err
	}
	pause(ctx, idleSeconds*time.Second)
	end, err := st.usage()
	if err != nil {
		return report.Sample{}, err
	}
	if n := countClosed(connections); n > 0 {
		return report.Sample{}, fmt.Errorf("%d of %d idle connections were closed", n, len(connections))
	}
	out := costs(end.minus(start), idleConnections)
	out.RSS = megabytes(end.rss - before.rss)
	return out, ctx.Err()
}

// openIdle opens the connections, one after the other; the caller closes those that
// it returns, also with an error.
func (st *station) openIdle(ctx context.Context, s scenario) ([]*tls.Conn, error) {
	config, err := st.bed.clientTLS(s.host)
	if err != nil {
		return nil, err
	}
	var out []*tls.Conn
	for len(out) < idleConnections {
		c, err := st.dial(ctx, config)
		if err != nil {
			return out, fmt.Errorf("open idle connection %d: %w", len(out)+1, err)
		}
		out = append(out, c)
		if err := oneRequest(ctx, c, s); err != nil {
			return out, fmt.Errorf("request on idle connection %d: %w", len(out), err)
		}
	}
	return out, nil
}

func oneRequest(ctx context.Context, c *tls.Conn, s scenario) error {
	request, err := s.request(ctx)
	if err != nil {
		return err
	}
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if err := request.Write(c); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(c), request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	n, err := io.Copy(io.Discard, response.Body)
	switch {
	case err != nil:
		return err
	case response.StatusCode != s.status || n != int64(s.size) || response.Close:
		return fmt.Errorf("answered %s with %d bytes, Connection: close is %v", response.Status, n, response.Close)
	}
	return nil
}

// countClosed returns how many connections the other side has closed. They are of no
// use afterwards.
func countClosed(connections []*tls.Conn) int {
	closed := 0
	for _, c := range connections {
		// Nothing may come, so a moment is enough: an end has arrived long ago.
		if c.SetReadDeadline(time.Now().Add(time.Millisecond)) != nil {
			closed++
			continue
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			closed++
		}
	}
	return closed
}
