package edgetest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// A Recorder is a backend that takes nothing on trust: it reads the bytes of
// every connection itself and accepts only requests that have a single reading
// (RFC 9112 with nothing lenient in it). What it cannot read so is a fault.
// It stands for several backends, each with a name and a port of its own.
// Safe for concurrent use.
type Recorder struct {
	t       testing.TB
	addr    map[string]string
	serving sync.WaitGroup

	mu     sync.Mutex
	ln     []net.Listener
	conns  map[net.Conn]struct{}
	over   bool
	seen   []Recorded
	faults []string
	play   map[string]func(net.Conn) bool
}

// Recorded is one whole request, as it came.
type Recorded struct {
	Backend, Method, Target, Proto string
	Head                           string // request line and fields, with their line ends
	Body                           string // without chunk framing
}

// String is "BACKEND METHOD TARGET", and the body if there is one.
func (r Recorded) String() string {
	s := r.Backend + " " + r.Method + " " + r.Target
	if r.Body != "" {
		s += " " + r.Body
	}
	return s
}

// Lines are the field lines, without line ends.
func (r Recorded) Lines() []string {
	return strings.Split(strings.TrimSuffix(r.Head, "\r\n\r\n"), "\r\n")[1:]
}

// NewRecorder starts a backend for each name; they stop when the test ends.
func NewRecorder(t testing.TB, names ...string) *Recorder {
	t.Helper()
	r := &Recorder{t: t, addr: map[string]string{}, conns: map[net.Conn]struct{}{}, play: map[string]func(net.Conn) bool{}}
	for _, name := range names {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, "listen for a recorder", err)
		r.addr[name] = ln.Addr().String()
		r.ln = append(r.ln, ln)
		r.serving.Go(func() { r.accept(name, ln) })
	}
	t.Cleanup(r.Stop)
	return r
}

// URL is where the backend of that name listens.
func (r *Recorder) URL(name string) string { return "http://" + r.addr[name] }

// Play makes the answer to a target: play writes it to the connection, which
// stays open if play returns true. Every other request is answered with 200.
func (r *Recorder) Play(target string, play func(net.Conn) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.play[target] = play
}

// Take returns the requests that came in whole since the last Take, and
// everything that was not a request.
func (r *Recorder) Take() (seen []Recorded, faults []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen, faults = r.seen, r.faults
	r.seen, r.faults = nil, nil
	return seen, faults
}

// CloseConns closes every connection, as a backend does that restarts.
func (r *Recorder) CloseConns() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		_ = c.Close()
	}
}

// Stop closes listeners and connections and waits for what they started.
func (r *Recorder) Stop() {
	r.mu.Lock()
	r.over = true
	for _, ln := range r.ln {
		_ = ln.Close()
	}
	r.mu.Unlock()
	r.CloseConns()
	r.serving.Wait()
}

func (r *Recorder) accept(name string, ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return // it was closed: nothing else ends a loopback listener
		}
		r.mu.Lock()
		r.conns[c] = struct{}{}
		if r.over {
			_ = c.Close()
		}
		r.mu.Unlock()
		r.serving.Go(func() { r.serve(name, c) })
	}
}

func (r *Recorder) serve(name string, c net.Conn) {
	defer func() {
		_ = c.Close()
		r.mu.Lock()
		delete(r.conns, c)
		r.mu.Unlock()
	}()
	var pending []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		pending = append(pending, buf[:n]...)
		for len(pending) > 0 {
			req, used, bad := parseStrictly(pending)
			if bad != "" {
				r.mu.Lock()
				r.faults = append(r.faults, fmt.Sprintf("%s: %s in %.400q", name, bad, pending))
				r.mu.Unlock()
				return
			}
			if used == 0 {
				break
			}
			pending = pending[used:]
			req.Backend = name
			if !r.answer(c, req) {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (r *Recorder) answer(c net.Conn, req Recorded) bool {
	r.mu.Lock()
	r.seen = append(r.seen, req)
	play := r.play[req.Target]
	r.mu.Unlock()
	if play != nil {
		return play(c)
	}
	body := "ok\n"
	if req.Method == "HEAD" {
		body = ""
	}
	_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"+body)
	return err == nil
}

// parseStrictly reads one request from the front of p; used is 0 while it is not
// all there, and bad says what gives it a second reading.
func parseStrictly(p []byte) (req Recorded, used int, bad string) {
	end := bytes.Index(p, []byte("\r\n\r\n"))
	if end < 0 {
		if i := bytes.IndexFunc(p, func(c rune) bool { return c < ' ' && c != '\r' && c != '\n' && c != '\t' }); i >= 0 {
			return req, 0, "a control character"
		}
		return req, 0, ""
	}
	req.Head = string(p[:end+4])
	rest := p[end+4:]
	line, fields, _ := strings.Cut(strings.TrimSuffix(req.Head, "\r\n\r\n"), "\r\n")
	if strings.ContainsAny(strings.ReplaceAll(req.Head, "\r\n", ""), "\r\n\x00") {
		return req, 0, "a bare CR or LF, or NUL"
	}
	parts := strings.Split(line, " ")
	if len(parts) != 3 || !isToken(parts[0]) || parts[1] == "" || parts[2] != "HTTP/1.1" && parts[2] != "HTTP/1.0" {
		return req, 0, "a bad request line"
	}
	if strings.ContainsFunc(parts[1], func(c rune) bool { return c <= ' ' || c == 0x7f || c == '#' }) {
		return req, 0, "a bad target"
	}
	req.Method, req.Target, req.Proto = parts[0], parts[1], parts[2]
	length, chunked, bad := framing(fields)
	if bad != "" {
		return req, 0, bad
	}
	if !chunked {
		if len(rest) < length {
			return req, 0, ""
		}
		req.Body = string(rest[:length])
		return req, end + 4 + length, ""
	}
	body, n, bad := unchunk(rest)
	if bad != "" || n == 0 {
		return req, 0, bad
	}
	req.Body = body
	return req, end + 4 + n, ""
}

// framing checks the field lines and tells how long the body is.
func framing(fields string) (length int, chunked bool, bad string) {
	count := map[string]int{}
	for l := range strings.SplitSeq(fields, "\r\n") {
		name, value, ok := strings.Cut(l, ":")
		if !ok || !isToken(name) {
			return 0, false, "a bad field line"
		}
		value = strings.Trim(value, " \t")
		if strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
			return 0, false, "a control character in a value"
		}
		lower := strings.ToLower(name)
		count[lower]++
		switch lower {
		case "content-length":
			n, err := strconv.ParseUint(value, 10, 31)
			if err != nil || value[0] == '+' {
				return 0, false, "a bad Content-Length"
			}
			length = int(n)
		case "transfer-encoding":
			if chunked = value == "chunked"; !chunked {
				return 0, false, "a Transfer-Encoding that is not chunked"
			}
		}
	}
	switch {
	case count["host"] != 1:
		return 0, false, "not one Host"
	case count["content-length"]+count["transfer-encoding"] > 1:
		return 0, false, "two framings"
	}
	return length, chunked, ""
}

// unchunk reads a chunked body; n is 0 while it is not all there.
func unchunk(p []byte) (body string, n int, bad string) {
	var out []byte
	at := 0
	for {
		nl := bytes.Index(p[at:], []byte("\r\n"))
		if nl < 0 {
			if len(p)-at > 16 {
				return "", 0, "a bad chunk size"
			}
			return "", 0, ""
		}
		size, err := strconv.ParseUint(string(p[at:at+nl]), 16, 31)
		if err != nil {
			return "", 0, "a bad chunk size"
		}
		at += nl + 2
		if len(p) < at+int(size)+2 {
			return "", 0, ""
		}
		if string(p[at+int(size):at+int(size)+2]) != "\r\n" {
			return "", 0, "a bad end of a chunk, or trailers"
		}
		out = append(out, p[at:at+int(size)]...)
		at += int(size) + 2
		if size == 0 {
			return string(out), at, ""
		}
	}
}

func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.ContainsRune("!#$%&'*+-.^_`|~", c))
	})
}

// Has reports whether the request has this field line, name in any case.
func (r Recorded) Has(line string) bool {
	return slices.ContainsFunc(r.Lines(), func(l string) bool { return strings.EqualFold(l, line) })
}
