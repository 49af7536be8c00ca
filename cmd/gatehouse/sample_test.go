package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"gatehouse/admin"
)

// sample parses flags as the verb does and builds the request.
func sample(t *testing.T, args ...string) (admin.InspectRequest, error) {
	t.Helper()
	var r sampleRequest
	cmd := &cobra.Command{}
	r.addFlags(cmd)
	if err := cmd.Flags().Parse(args); err != nil {
		t.Fatal(err)
	}
	return r.build(cmd.Flags().Arg(0), strings.NewReader("from stdin\n"))
}

func TestSampleRequestIsWhatCurlWouldSend(t *testing.T) {
	file := filepath.Join(t.TempDir(), "data")
	write(t, file, "line 1\nline 2\n")
	for _, tc := range []struct {
		name              string
		args              []string
		method, url, body string
	}{
		{"plain", []string{"http://a.test/x?q=1"}, "GET", "http://a.test/x?q=1", ""},
		{"no scheme", []string{"a.test/x"}, "GET", "https://a.test/x", ""},
		{"raw target kept", []string{"http://a.test/../%2e/<b>?q='--"}, "GET", "http://a.test/../%2e/<b>?q='--", ""},
		{"spaces escaped", []string{"http://a.test/?q=' OR 1=1"}, "GET", "http://a.test/?q='%20OR%201=1", ""},
		{"data means POST", []string{"-d", "a=1", "-d", "b=2", "http://a.test"}, "POST", "http://a.test", "a=1&b=2"},
		{"method", []string{"-X", "PUT", "--data-binary", "x\ny", "http://a.test"}, "PUT", "http://a.test", "x\ny"},
		{"file without line ends", []string{"-d", "@" + file, "http://a.test"}, "POST", "http://a.test", "line 1line 2"},
		{"file as it is", []string{"--data-binary", "@" + file, "http://a.test"}, "POST", "http://a.test", "line 1\nline 2\n"},
		{"standard input", []string{"--data-binary", "@-", "http://a.test"}, "POST", "http://a.test", "from stdin\n"},
		{"escaped", []string{"--data-urlencode", "q=a b&c", "http://a.test"}, "POST", "http://a.test", "q=a+b%26c"},
		{"into the query", []string{"-G", "-d", "a=1", "http://a.test/?z=0#f"}, "GET", "http://a.test/?z=0&a=1", ""},
		{"empty data is a body", []string{"-d", "", "http://a.test"}, "POST", "http://a.test", ""},
		{"an @ that is one", []string{"--data-raw", "@me", "http://a.test"}, "POST", "http://a.test", "@me"},
		{"order of the data", []string{"--data-urlencode", "a=&", "-d", "b", "--data-urlencode", "c@" + file, "http://a.test"}, "POST", "http://a.test", "a=%26&b&c=line+1%0Aline+2%0A"},
		{"JSON", []string{"--json", `{"a":`, "--json", "1}", "http://a.test"}, "POST", "http://a.test", `{"a":1}`},
		{"query", []string{"--url-query", "q=a b", "--url-query", "+r='", "http://a.test/?z#f"}, "GET", "http://a.test/?z&q=a+b&r='", ""},
		{"HEAD", []string{"-I", "http://a.test"}, "HEAD", "http://a.test", ""},
		{"user in the URL", []string{"http://me:p%40ss@a.test/x?u=a@b"}, "GET", "http://a.test/x?u=a@b", ""},
		{"bad escape", []string{"http://a.test/%zz"}, "GET", "http://a.test/%zz", ""},
		{"Chrome's line", []string{"http://a.test/api", "-X", "PUT", "-H", "accept: */*", "-b", "sid=1", "-H", "user-agent: M", "--data-raw", `{"a":"\n"}`, "--insecure"}, "PUT", "http://a.test/api", `{"a":"\n"}`},
		{"Firefox' line", []string{"http://a.test/[x]", "--globoff", "--compressed", "-X", "POST", "-H", "User-Agent: M", "--data-binary", "a\r\nb"}, "POST", "http://a.test/[x]", "a\r\nb"},
		{"curl's own matters", []string{"-sSLkifvN", "-m", "5", "--http2", "--tlsv1.2", "http://a.test"}, "GET", "http://a.test", ""},
		{"Host selects the vhost", []string{"-H", "Host: b.test", "http://a.test:81/x"}, "GET", "http://b.test/x", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in, err := sample(t, tc.args...)
			if err != nil {
				t.Fatal(err)
			}
			want(t, "method", in.Method, tc.method)
			want(t, "url", in.URL, tc.url)
			want(t, "body", string(in.Body), tc.body)
		})
	}
}

func TestSampleRequestHasABrowsersFields(t *testing.T) {
	in, err := sample(t, "-H", "Accept:", "-H", "X-One: 1", "-H", "X-Empty;", "-A", "agent", "-b", "a=b", "-d", "x", "http://a.test")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, h := range in.Headers {
		got = append(got, h[0]+"="+h[1])
	}
	want(t, "fields", strings.Join(got, " "), "User-Agent=agent Cookie=a=b Content-Type=application/x-www-form-urlencoded X-One=1 X-Empty=")
	if in, err = sample(t, "--json", "{}", "-A", "", "-u", "me:pass", "-e", "http://r.test;auto", "--compressed", "http://a.test"); err != nil {
		t.Fatal(err)
	}
	want(t, "more fields", fmt.Sprint(in.Headers), "[[Authorization Basic bWU6cGFzcw==] [Accept application/json] "+
		"[Accept-Encoding deflate, gzip, br, zstd] [Referer http://r.test] [Content-Type application/json]]")
	var usage usageError
	if _, err := sample(t, "-H", "Content-Length: 3", "-d", "a=1", "http://a.test"); err != nil {
		t.Errorf("the right length: %v", err)
	}
	if _, err := sample(t, "-H", "Content-Length: 5", "http://a.test"); !errors.As(err, &usage) {
		t.Errorf("a length that cannot be true: %v", err)
	}
	if _, err := sample(t, "-d", "@/nowhere/file", "http://a.test"); err == nil {
		t.Error("a file that is not there was read")
	}
}

func TestFormIsSentAsCurlDoes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "icon.svg")
	write(t, file, "<svg/>")
	in, err := sample(t, "-F", "a=b;c", "-F", "up=@"+file, "-F", "as=@"+file+";type=text/x;filename=\"e\\.php\"", "-F", "from=<"+file, "-F", "in=@-", "--form-string", "raw=@x;type=y", "http://a.test")
	if err != nil {
		t.Fatal(err)
	}
	want(t, "method", in.Method, "POST")
	kind := in.Headers[len(in.Headers)-1]
	_, params, err := mime.ParseMediaType(kind[1])
	if err != nil || kind[0] != "Content-Type" {
		t.Fatal(kind, err)
	}
	var got []string
	for r := multipart.NewReader(bytes.NewReader(in.Body), params["boundary"]); ; {
		p, err := r.NextRawPart()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s|%s|%s", p.Header.Get("Content-Disposition"), p.Header.Get("Content-Type"), text))
	}
	want(t, "parts", strings.Join(got, "\n"), `form-data; name="a"||b;c
form-data; name="up"; filename="icon.svg"|image/svg+xml|<svg/>
form-data; name="as"; filename="e\.php"|text/x|<svg/>
form-data; name="from"||<svg/>
form-data; name="in"; filename="-"|application/octet-stream|from stdin
`+"\n"+`form-data; name="raw"||@x;type=y`)
}
