package crstest

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

// input is what a test says of its request.
type input struct {
	Address      any               `yaml:"dest_addr"`
	Port         any               `yaml:"port"`
	Protocol     any               `yaml:"protocol"`
	Method       *string           `yaml:"method"`
	URI          *string           `yaml:"uri"`
	Version      *string           `yaml:"version"`
	Headers      map[string]string `yaml:"headers"`
	Data         string            `yaml:"data"`
	Encoded      string            `yaml:"encoded_request"`
	Autocomplete *bool             `yaml:"autocomplete_headers"`
}

// fields are the field lines of a request, in order.
type fields [][2]string

// get returns the first value of a name, whatever its case.
func (f fields) get(name string) (string, bool) {
	at := slices.IndexFunc(f, func(line [2]string) bool { return strings.EqualFold(line[0], name) })
	if at < 0 {
		return "", false
	}
	return f[at][1], true
}

// build puts the request together as go-ftw does (ftwhttp/request.go): fields sorted by name; a type for a
// body that has none; a form that is encoded; CRLF in multipart; Connection and Content-Length.
func (in input) build() ([]byte, error) {
	method, uri, version := "GET", "/", "HTTP/1.1"
	for to, given := range map[*string]*string{&method: in.Method, &uri: in.URI, &version: in.Version} {
		if given != nil {
			*to = *given
		}
	}
	var head fields
	for _, name := range slices.Sorted(maps.Keys(in.Headers)) {
		head = append(head, [2]string{name, in.Headers[name]})
	}
	body, err := expand(in.Data)
	if err != nil {
		return nil, err
	}
	complete := in.Autocomplete == nil || *in.Autocomplete
	if complete && body != "" {
		if _, typed := head.get("Content-Type"); !typed {
			head = append(head, [2]string{"Content-Type", form})
		}
		body = encodeForm(head, body)
	}
	if kind, _ := head.get("Content-Type"); strings.Contains(strings.ToLower(kind), "multipart/form-data;") {
		body = strings.ReplaceAll(body, "\n", "\r\n")
	}
	if complete {
		head = finish(head, method, body)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s %s\r\n", method, uri, version)
	for _, line := range head {
		fmt.Fprintf(&b, "%s: %s\r\n", line[0], line[1])
	}
	b.WriteString("\r\n" + body)
	return b.Bytes(), nil
}

const form = "application/x-www-form-urlencoded"

// withBody is go-ftw's idea of the methods that announce an empty body, missing brackets included.
var withBody = regexp.MustCompile(`^POST|PUT|PATCH|DELETE$`)

// finish adds what go-ftw adds to every request.
func finish(head fields, method, body string) fields {
	if _, has := head.get("Connection"); !has {
		head = append(head, [2]string{"Connection", "close"})
	}
	if _, has := head.get("Content-Length"); !has && (body != "" || withBody.MatchString(method)) {
		head = append(head, [2]string{"Content-Length", strconv.Itoa(len(body))})
	}
	return head
}

// encodeForm encodes names and values of a form, unless the body looks encoded already.
func encodeForm(head fields, body string) string {
	if kind, _ := head.get("Content-Type"); !strings.EqualFold(kind, form) {
		return body
	}
	if plain, err := url.QueryUnescape(body); err != nil || plain != body {
		return body
	}
	pairs := strings.Split(strings.TrimSuffix(body, "&"), "&")
	for i, pair := range pairs {
		name, value, has := strings.Cut(pair, "=")
		pairs[i] = url.QueryEscape(name)
		if has {
			pairs[i] += "=" + url.QueryEscape(value)
		}
	}
	return strings.Join(pairs, "&")
}

// expand runs a body's Go template. Of the functions that go-ftw has, the tests use one.
func expand(text string) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	t, err := template.New("data").Funcs(template.FuncMap{
		"repeat": func(count int, s string) string { return strings.Repeat(s, max(count, 0)) },
	}).Parse(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, nil)
	return b.String(), err
}

// A Request is what an engine is told of a request.
type Request struct {
	Method, Target, Proto string
	Host                  string // the first Host field's value
	Fields                [][2]string
	Body                  []byte // without transfer coding
}

// Parse takes a raw request apart and forgives what a strict server refuses, so that an engine without a
// server sees what the test means. The body is what its length or coding says; without them there
// is none (RFC 9112 §6.3).
func Parse(raw []byte) (Request, error) {
	head, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	lines := strings.Split(string(head), "\r\n")
	var r Request
	r.Method, r.Target, _ = strings.Cut(lines[0], " ")
	if at := strings.LastIndexByte(r.Target, ' '); at >= 0 {
		r.Target, r.Proto = r.Target[:at], r.Target[at+1:]
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		r.Fields = append(r.Fields, [2]string{name, strings.Trim(value, " \t")})
	}
	r.Host, _ = fields(r.Fields).get("Host")
	coding, _ := fields(r.Fields).get("Transfer-Encoding")
	length, _ := fields(r.Fields).get("Content-Length")
	if strings.EqualFold(coding, "chunked") {
		plain, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(body)))
		if err != nil {
			return r, fmt.Errorf("read chunks: %w", err)
		}
		r.Body = plain
	} else if n, err := strconv.Atoi(length); err == nil && n > 0 {
		r.Body = body[:min(n, len(body))]
	}
	return r, nil
}
