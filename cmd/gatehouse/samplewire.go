package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"gatehouse/admin"
	"gatehouse/internal/octets"
	"gatehouse/routes"
)

// maxRaw bounds a file for --raw: a body and a head that no door would let in.
const maxRaw = maxSample + 1<<20

// readRaw reads one request as it goes over the wire. site, if there is one, is
// the scheme and host to use instead of its own.
func readRaw(name, site string, stdin io.Reader) (in admin.InspectRequest, err error) {
	scheme, authority := "https", ""
	if site != "" {
		target := ""
		if _, site, err = cutUser(site); err != nil {
			return in, err
		}
		if scheme, authority, target, err = routes.SplitURL(site); err != nil || target != "/" {
			return in, usagef("%s: with --raw a URL only names another site: want https://HOST", site)
		}
	}
	raw, err := readSource(name, stdin, maxRaw)
	if err != nil {
		return in, fmt.Errorf("read the request: %w", err)
	}
	in, err = parseRaw(raw, scheme, authority)
	if err != nil {
		place := name
		if name == "-" {
			place = "standard input"
		}
		return in, fmt.Errorf("%s: %w", place, err)
	}
	return in, nil
}

// A rawHead is what the head of a raw request says besides its fields.
type rawHead struct {
	target, host string
	length       int // by Content-Length; -1: there is none
	chunked      bool
}

// parseRaw reads a request whose lines end with CRLF or with LF alone. Errors
// name the line.
func parseRaw(raw []byte, scheme, authority string) (in admin.InspectRequest, err error) {
	head := rawHead{length: -1}
	text := bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")) // editors of some systems write it
	number, begun := 0, false
	for len(text) > 0 {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		number++
		switch {
		case len(line) == 0 && !begun:
			continue
		case len(line) == 0:
			return head.finish(in, scheme, authority, text, number)
		case !begun:
			begun = true
			err = head.requestLine(&in, string(line))
		default:
			err = head.field(&in, string(line))
		}
		if err != nil {
			return in, fmt.Errorf("line %d: %w", number, err)
		}
	}
	if !begun {
		return in, errors.New("there is no request in it")
	}
	return head.finish(in, scheme, authority, nil, number)
}

func (h *rawHead) requestLine(in *admin.InspectRequest, line string) error {
	method, rest, ok := strings.Cut(line, " ")
	at := strings.LastIndexByte(rest, ' ')
	if !ok || at <= 0 || !octets.IsToken(method) || !strings.HasPrefix(rest[at+1:], "HTTP/") {
		return fmt.Errorf("%q is no request line: want METHOD TARGET HTTP/1.1", shorten(line))
	}
	target, proto := rest[:at], rest[at+1:]
	switch proto {
	case "HTTP/1.0", "HTTP/1.1":
		in.Proto = proto
	case "HTTP/2", "HTTP/2.0", "HTTP/3", "HTTP/3.0": // as browsers show them: the rules see the same
	default:
		return fmt.Errorf("%q is no version of HTTP that is served", shorten(proto))
	}
	if strings.ContainsAny(target, " \t") {
		return fmt.Errorf("white space in the target %q: write %%20", shorten(target))
	}
	in.Method, h.target = method, target
	return nil
}

// field notes one field line.
func (h *rawHead) field(in *admin.InspectRequest, line string) error {
	if line[0] == ' ' || line[0] == '\t' {
		return errors.New("a field that is continued on the next line: the edge answers 400 (RFC 9112 §5.2)")
	}
	name, value, ok := strings.Cut(line, ":")
	if strings.HasPrefix(line, ":") { // ":authority: a.test", which browsers show
		return errors.New("a field of HTTP/2: write a request line and Host instead")
	}
	if !ok || !octets.IsToken(name) {
		return fmt.Errorf("%q is no header field: want Name: value, and an empty line before a body", shorten(line))
	}
	value = strings.Trim(value, " \t")
	switch strings.ToLower(name) {
	case "host":
		if h.host != "" {
			return errors.New("a second Host: the edge answers 400 (RFC 9112 §3.2)")
		}
		h.host = value
		return nil
	case "content-length":
		if n, err := strconv.Atoi(value); err == nil && n >= 0 {
			h.length = n
		}
		return nil // made from the body
	case "transfer-encoding":
		if !strings.EqualFold(value, "chunked") {
			return fmt.Errorf("transfer coding %q: the edge answers 501", shorten(value))
		}
		h.chunked = true
	}
	in.Headers = append(in.Headers, [2]string{name, value})
	return nil
}

// finish joins head and body.
func (h *rawHead) finish(in admin.InspectRequest, scheme, authority string, body []byte, line int) (admin.InspectRequest, error) {
	own, target := h.host, h.target
	if s, rest, found := strings.Cut(target, "://"); found && !strings.HasPrefix(target, "/") { // absolute-form
		end := strings.IndexAny(rest, "/?")
		if end < 0 {
			end = len(rest)
		}
		if h.host != "" && !strings.EqualFold(rest[:end], h.host) {
			return in, fmt.Errorf("its target is for %s and its Host is %s: the edge answers 400 (RFC 9112 §3.2.2)", rest[:end], h.host)
		}
		own, target = rest[:end], rest[end:]
		if authority == "" {
			scheme = strings.ToLower(s)
		}
	} else if !strings.HasPrefix(target, "/") {
		return in, fmt.Errorf("target %q: want a path, or http://host/…", shorten(target))
	}
	if authority != "" {
		own = authority
	}
	if own == "" {
		return in, errors.New("it has no Host: name the site, as in: gatehouse waf test --raw FILE https://HOST")
	}
	in.URL = scheme + "://" + own + target
	if _, _, _, err := routes.SplitURL(in.URL); err != nil {
		return in, fmt.Errorf("host %q: %w", shorten(own), err)
	}
	var err error
	if h.chunked {
		if body, err = unchunk(body); err != nil {
			return in, fmt.Errorf("the body, from line %d on: %w; if it is not in chunks, take the Transfer-Encoding out", line+1, err)
		}
	} else {
		body = h.trim(body)
	}
	if len(body) > 0 || h.length == 0 || h.chunked {
		in.Body = body
	}
	if len(body) > maxSample {
		return in, fmt.Errorf("the body has %d bytes: at most 16 MiB are tried", len(body))
	}
	return in, nil
}

// trim takes off the line end that editors add to a file's end.
func (h *rawHead) trim(body []byte) []byte {
	if h.length >= 0 {
		if len(body) > h.length && len(bytes.Trim(body[h.length:], "\r\n")) == 0 {
			return body[:h.length:h.length]
		}
		return body
	}
	return bytes.TrimSuffix(bytes.TrimSuffix(body, []byte("\n")), []byte("\r"))
}

// unchunk decodes a body in chunks whose lines may end with LF alone. Trailers
// are left out.
func unchunk(body []byte) ([]byte, error) {
	out := []byte{}
	for {
		line, rest, found := bytes.Cut(body, []byte("\n"))
		size, _, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\r")), []byte(";"))
		n, err := strconv.ParseUint(string(bytes.TrimSpace(size)), 16, 31)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%q is no size of a chunk", shorten(string(size)))
		case n == 0:
			return out, nil
		case !found || uint64(len(rest)) < n:
			return nil, fmt.Errorf("it ends within a chunk of %d bytes", n)
		}
		out, body = append(out, rest[:n]...), rest[n:]
		body, found = bytes.CutPrefix(bytes.TrimPrefix(body, []byte("\r")), []byte("\n"))
		if !found {
			return nil, fmt.Errorf("a chunk is longer than the %d bytes that it says", n)
		}
	}
}
