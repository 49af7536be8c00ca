package main

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"gatehouse/admin"
	"gatehouse/routes"
)

// build makes the request. The target stays as it is written, as far as a request
// line can hold it: spaces are escaped, which curl refuses.
func (r *sampleRequest) build(target string, stdin io.Reader) (admin.InspectRequest, error) {
	in := admin.InspectRequest{Method: r.method, Client: r.client}
	user, target, err := cutUser(strings.ReplaceAll(target, " ", "%20"))
	if err != nil {
		return in, err
	}
	if _, err := netip.ParseAddr(r.client); err != nil {
		return in, usagef("--client %s: want an address", r.client)
	}
	body, kind, err := r.body(stdin)
	if err != nil {
		return in, err
	}
	if r.get && body != nil {
		target, body = withQuery(target, string(body)), nil
	}
	for _, q := range r.query {
		text, raw := strings.CutPrefix(q, "+") // curl: as it is
		if !raw {
			if text, err = escaped(q, stdin); err != nil {
				return in, err
			}
		}
		target = withQuery(target, text)
	}
	in.URL, in.Body = target, body
	if in.Method == "" {
		in.Method = r.usualMethod(body)
	}
	if body == nil {
		kind = ""
	}
	var host string
	if in.Headers, host, err = r.fields(kind, user, len(body)); err != nil {
		return in, err
	}
	if host != "" { // as the edge does: Host selects the vhost
		_, authority, _, _ := routes.SplitURL(in.URL) // checked by cutUser
		in.URL = strings.Replace(in.URL, "://"+authority, "://"+host, 1)
		if _, _, _, err := routes.SplitURL(in.URL); err != nil {
			return in, usagef("bad Host %q", host)
		}
	}
	return in, nil
}

func (r *sampleRequest) usualMethod(body []byte) string {
	switch {
	case r.head:
		return http.MethodHead
	case body != nil:
		return http.MethodPost
	}
	return http.MethodGet
}

// cutUser takes "user:password@" out of a URL, which curl sends as a field, and
// checks what is left. A scheme may be missing.
func cutUser(raw string) (user, target string, err error) {
	target = raw
	if scheme, _, found := strings.Cut(raw, "://"); !found || strings.ContainsAny(scheme, "/?#") {
		target = "https://" + raw
	}
	scheme, rest, _ := strings.Cut(target, "://")
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	if at := strings.LastIndexByte(rest[:end], '@'); at >= 0 {
		user, target = rest[:at], scheme+"://"+rest[at+1:]
		if plain, err := url.PathUnescape(user); err == nil {
			user = plain
		}
	}
	if _, _, _, err := routes.SplitURL(target); err != nil {
		return "", "", usagef("bad URL %q: %w", raw, err)
	}
	return user, target, nil
}

// withQuery adds data to the query of a URL that is not parsed and put together
// again: that would change it.
func withQuery(target, data string) string {
	target, _, _ = strings.Cut(target, "#")
	separator := "?"
	if strings.Contains(target, "?") {
		separator = "&"
	}
	return target + separator + data
}

// fields are the header fields that a browser or curl would send, under those
// that the user gave, and the user's Host apart. Content-Length follows from the
// body; kind is its type, empty without one.
func (r *sampleRequest) fields(kind, user string, length int) (out [][2]string, host string, err error) {
	var given [][2]string
	set := map[string]bool{}
	for _, h := range r.headers {
		name, value, ok := strings.Cut(h, ":")
		empty := !ok && strings.HasSuffix(name, ";") // curl's "Name;" sends an empty field
		name, value = strings.TrimSuffix(name, ";"), strings.TrimSpace(value)
		canonical := http.CanonicalHeaderKey(name)
		set[canonical] = true
		switch {
		case !ok && !empty || strings.TrimSpace(name) == "":
			return nil, "", usagef("bad header %q: want \"Name: value\"", h)
		case canonical == "Content-Length": // browsers copy it
			if value != strconv.Itoa(length) {
				return nil, "", usagef("header %q: the length follows from the data, which has %d bytes", h, length)
			}
		case canonical == "Host":
			host = value
		case empty || value != "":
			given = append(given, [2]string{name, value})
		}
	}
	add := func(name, value string) {
		if value != "" && !set[name] {
			out = append(out, [2]string{name, value})
		}
	}
	if r.user != "" {
		user = r.user
	}
	if user != "" {
		add("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user)))
	}
	add("User-Agent", r.agent)
	if len(r.json) > 0 {
		add("Accept", "application/json")
	}
	if len(r.json) == 0 {
		add("Accept", "*/*")
	}
	if r.compressed {
		add("Accept-Encoding", "deflate, gzip, br, zstd")
	}
	add("Referer", strings.TrimSuffix(r.referer, ";auto"))
	add("Cookie", r.cookie)
	add("Content-Type", kind)
	return append(out, given...), host, nil
}
