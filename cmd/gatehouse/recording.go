package main

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"strings"

	"gatehouse/admin"
)

// Bounds of a recording.
const (
	maxRecording = 512 << 20 // bytes; answers are in it, too
	maxEntries   = 20_000
)

// harRequest is what of an entry's request is read (HAR 1.2, "request"). Everything
// else, the answer too, is passed over.
type harRequest struct {
	Method   string     `json:"method"`
	URL      string     `json:"url"`
	Headers  []harPair  `json:"headers"`
	Cookies  []harPair  `json:"cookies"`
	PostData *harPosted `json:"postData"`
	BodySize int64      `json:"bodySize"`
}

type harPair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type harPosted struct {
	MimeType string     `json:"mimeType"`
	Text     string     `json:"text"`
	Encoding string     `json:"encoding"` // "base64": no part of HAR 1.2, but written by some
	Params   []harParam `json:"params"`
}

type harParam struct {
	harPair
	FileName    string `json:"fileName"`
	ContentType string `json:"contentType"`
}

// readRecording calls each for every request of a recording, in its order. Only
// one entry is in memory at a time.
func readRecording(name string, stdin io.Reader, each func(harRequest) error) error {
	in := stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("read the recording: %w", err)
		}
		defer file.Close()
		in = file
	}
	bounded := &io.LimitedReader{R: in, N: maxRecording + 1}
	dec := json.NewDecoder(&skipMark{r: bounded})
	err := harEntries(dec, each)
	if bounded.N <= 0 {
		err = errors.New("larger than " + sizeWords(maxRecording) + ": record a shorter visit")
	}
	if err != nil {
		return fmt.Errorf("the recording %s: %w", name, err)
	}
	return nil
}

// skipMark leaves out a byte order mark, which some browsers write.
type skipMark struct {
	r     io.Reader
	begun bool
}

func (s *skipMark) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if !s.begun && n > 0 {
		s.begun = true
		if rest, marked := bytes.CutPrefix(p[:n], []byte("\xef\xbb\xbf")); marked {
			n = copy(p, rest)
		}
	}
	return n, err
}

// harEntries finds log.entries and reads it.
func harEntries(dec *json.Decoder, each func(harRequest) error) error {
	notHAR := func(err error) error {
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("no HAR: %w", err)
		}
		return errors.New("no HAR: want {\"log\": {\"entries\": […]}}, as browsers save it")
	}
	if found, err := member(dec, "log"); !found {
		return notHAR(err)
	}
	if found, err := member(dec, "entries"); !found {
		return notHAR(err)
	}
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return notHAR(err)
	}
	for n := 1; dec.More(); n++ {
		if n > maxEntries {
			return fmt.Errorf("more than %d entries: record a shorter visit", maxEntries)
		}
		var entry struct {
			Request harRequest `json:"request"`
		}
		if err := dec.Decode(&entry); err != nil {
			return fmt.Errorf("entry %d: %w", n, err)
		}
		if err := each(entry.Request); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil { // ]
		return fmt.Errorf("it ends early: %w", err)
	}
	return nil
}

// member enters an object and goes on to the value of a name.
func member(dec *json.Decoder, name string) (found bool, err error) {
	t, err := dec.Token()
	if err != nil || t != json.Delim('{') {
		return false, err
	}
	for dec.More() {
		if t, err = dec.Token(); err != nil {
			return false, err
		}
		if t == name {
			return true, nil
		}
		var skipped json.RawMessage
		if err := dec.Decode(&skipped); err != nil {
			return false, err
		}
	}
	return false, nil
}

// build makes the request as the edge would get it. missing: the recording does not
// have its body.
func (h *harRequest) build(client string) (in admin.InspectRequest, missing bool, err error) {
	in = admin.InspectRequest{Method: h.Method, Client: client}
	in.URL = strings.ReplaceAll(h.URL, " ", "%20")
	if rest, ok := strings.CutPrefix(in.URL, "ws"); ok && (strings.HasPrefix(rest, "://") || strings.HasPrefix(rest, "s://")) {
		in.URL = "http" + rest // the request that opens a WebSocket
	}
	kind := ""
	if h.PostData != nil {
		if in.Body, kind, err = h.PostData.body(h.field("content-type")); err != nil {
			return in, false, err
		}
	}
	if len(in.Body) > maxSample {
		return in, false, fmt.Errorf("the body has %d bytes: at most 16 MiB are tried", len(in.Body))
	}
	missing = len(in.Body) == 0 && h.BodySize > 0
	if in.Body == nil && (h.Method == http.MethodPost || h.Method == http.MethodPut || h.Method == http.MethodPatch) {
		in.Body = []byte{} // browsers send a length of 0
	}
	in.Headers = h.fields(kind)
	return in, missing, nil
}

func (h *harRequest) field(lower string) string {
	for _, f := range h.Headers {
		if strings.EqualFold(f.Name, lower) {
			return f.Value
		}
	}
	return ""
}

// fields are the header fields as HTTP/1.1 has them: no pseudo-header, each line
// once, one Cookie (RFC 9113 §8.2.3). kind replaces the type of the body unless it
// is empty.
func (h *harRequest) fields(kind string) (out [][2]string) {
	seen := map[[2]string]bool{}
	var cookies []string
	for _, f := range h.Headers {
		lower := strings.ToLower(f.Name)
		line := [2]string{lower, f.Value}
		switch {
		case lower == "" || lower[0] == ':' || lower == "host" || lower == "content-length" || lower == "transfer-encoding" || seen[line]:
			continue
		case lower == "cookie":
			cookies = append(cookies, f.Value)
		case lower == "content-type" && kind != "":
		default:
			out = append(out, [2]string{f.Name, f.Value})
		}
		seen[line] = true
	}
	if cookies == nil {
		for _, c := range h.Cookies {
			cookies = append(cookies, c.Name+"="+c.Value)
		}
	}
	if cookies != nil {
		out = append(out, [2]string{"Cookie", strings.Join(cookies, "; ")})
	}
	if kind != "" {
		out = append(out, [2]string{"Content-Type", kind})
	}
	return out
}

// body is what was posted and its type: that of the field, or of the recording if
// there is none.
func (p *harPosted) body(field string) ([]byte, string, error) {
	kind := cmp.Or(field, p.MimeType)
	switch {
	case p.Encoding == "base64":
		raw, err := base64.StdEncoding.DecodeString(p.Text)
		if err != nil {
			return nil, "", fmt.Errorf("the body is no base64: %w", err)
		}
		return raw, kind, nil
	case p.Text != "":
		return []byte(p.Text), kind, nil
	case len(p.Params) == 0:
		return []byte{}, kind, nil
	}
	base, params, err := mime.ParseMediaType(kind)
	if err == nil && base == "multipart/form-data" {
		return p.multipart(params["boundary"])
	}
	pairs := make([]string, 0, len(p.Params))
	for _, v := range p.Params { // browsers list them as they were sent, or decoded
		pairs = append(pairs, formEscaped(v.Name)+"="+formEscaped(v.Value))
	}
	return []byte(strings.Join(pairs, "&")), cmp.Or(kind, "application/x-www-form-urlencoded"), nil
}

// formEscaped escapes what is not escaped yet.
func formEscaped(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil && url.QueryEscape(plain) == s {
		return s
	}
	return url.QueryEscape(s)
}

func (p *harPosted) multipart(boundary string) ([]byte, string, error) {
	var text bytes.Buffer
	w := multipart.NewWriter(&text)
	if boundary != "" {
		if err := w.SetBoundary(boundary); err != nil {
			return nil, "", err
		}
	}
	for _, v := range p.Params {
		if err := writePart(w, v.Name, v.FileName, v.ContentType, v.Value); err != nil {
			return nil, "", err
		}
	}
	if err := w.Close(); err != nil {
		return nil, "", err
	}
	return text.Bytes(), w.FormDataContentType(), nil
}
