package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse/admin"
)

// maxSample bounds what is read of a file for -d @FILE.
const maxSample = 16 << 20

// sampleRequest is a request written with curl's flags.
type sampleRequest struct {
	method, agent, cookie, client string
	headers, data, binary, encode []string
	get                           bool
}

func (r *sampleRequest) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&r.method, "request", "X", "", "`method` (default GET, or POST with data)")
	f.StringArrayVarP(&r.headers, "header", "H", nil, "header field \"`Name: value`\"; \"Name:\" removes a usual one")
	f.StringArrayVarP(&r.data, "data", "d", nil, "form `data`; @FILE reads a file, @- standard input")
	f.StringArrayVar(&r.binary, "data-binary", nil, "`data` as it is; @FILE reads a file, @- standard input")
	f.StringArrayVar(&r.encode, "data-urlencode", nil, "form data `[name=]value` that is escaped first")
	f.BoolVarP(&r.get, "get", "G", false, "put the data into the query")
	f.StringVarP(&r.agent, "user-agent", "A", "Mozilla/5.0 (X11; Linux x86_64) gatehouse-waf-test", "User-Agent `text`")
	f.StringVarP(&r.cookie, "cookie", "b", "", "Cookie `text`: \"name=value; …\"")
	f.StringVar(&r.client, "client", "127.0.0.1", "`address` that the request seems to come from")
}

// build makes the request. The target stays as it is written, as far as a request
// line can hold it: spaces are escaped, which curl refuses.
func (r *sampleRequest) build(target string, stdin io.Reader) (admin.InspectRequest, error) {
	in := admin.InspectRequest{Method: r.method, URL: strings.ReplaceAll(target, " ", "%20"), Client: r.client}
	if !strings.Contains(in.URL, "://") {
		in.URL = "https://" + in.URL
	}
	u, err := url.Parse(in.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return in, usagef("bad URL %q: want http://host/… or https://host/…", target)
	}
	if _, err := netip.ParseAddr(r.client); err != nil {
		return in, usagef("--client %s: want an address", r.client)
	}
	body, err := r.body(stdin)
	if err != nil {
		return in, err
	}
	if r.get && body != nil {
		in.URL, body = withQuery(in.URL, string(body)), nil
	}
	in.Body = body
	if in.Method == "" {
		in.Method = http.MethodGet
		if body != nil {
			in.Method = http.MethodPost
		}
	}
	var host string
	if in.Headers, host, err = r.fields(body != nil); err != nil {
		return in, err
	}
	if host != "" { // as the edge does: Host selects the vhost
		in.URL = strings.Replace(in.URL, "://"+u.Host, "://"+host, 1)
	}
	return in, nil
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

// body joins the data flags with &, as curl does; nil: none was given.
func (r *sampleRequest) body(stdin io.Reader) ([]byte, error) {
	var parts []string
	for _, d := range r.data {
		text, err := dataOf(d, stdin)
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(d, "@") {
			text = strings.NewReplacer("\r", "", "\n", "").Replace(text)
		}
		parts = append(parts, text)
	}
	for _, d := range r.binary {
		text, err := dataOf(d, stdin)
		if err != nil {
			return nil, err
		}
		parts = append(parts, text)
	}
	for _, d := range r.encode {
		name, value, named := strings.Cut(d, "=")
		switch {
		case named && name != "":
			parts = append(parts, name+"="+url.QueryEscape(value))
		case named:
			parts = append(parts, url.QueryEscape(value))
		default:
			parts = append(parts, url.QueryEscape(d))
		}
	}
	if parts == nil {
		return nil, nil
	}
	return []byte(strings.Join(parts, "&")), nil
}

// dataOf reads what @FILE or @- names.
func dataOf(text string, stdin io.Reader) (string, error) {
	name, isFile := strings.CutPrefix(text, "@")
	if !isFile {
		return text, nil
	}
	in := stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return "", fmt.Errorf("read the data: %w", err)
		}
		defer file.Close()
		in = file
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxSample+1))
	if err == nil && len(raw) > maxSample {
		err = errors.New("larger than 16 MiB")
	}
	if err != nil {
		return "", fmt.Errorf("read the data of %s: %w", text, err)
	}
	return string(raw), nil
}

// fields are the header fields that a browser or curl would send, under those
// that the user gave, and the user's Host apart. Content-Length follows from the
// body.
func (r *sampleRequest) fields(hasBody bool) (out [][2]string, host string, err error) {
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
		case canonical == "Content-Length":
			return nil, "", usagef("header %q: the length follows from the data", h)
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
	add("User-Agent", r.agent)
	add("Accept", "*/*")
	add("Cookie", r.cookie)
	if hasBody {
		add("Content-Type", "application/x-www-form-urlencoded")
	}
	return append(out, given...), host, nil
}
