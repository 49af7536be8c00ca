package main

import (
	"errors"
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
	var usage usageError
	if _, err := sample(t, "-H", "Content-Length: 5", "http://a.test"); !errors.As(err, &usage) {
		t.Errorf("a length that cannot be true: %v", err)
	}
	if _, err := sample(t, "-d", "@/nowhere/file", "http://a.test"); err == nil {
		t.Error("a file that is not there was read")
	}
}
