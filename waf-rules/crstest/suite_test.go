package crstest

import (
	"strings"
	"testing"
)

// The suite is read whole. A newer CRS has other numbers: they are here so that a test lost on the way
// is noticed.
func TestTheWholeSuiteIsRead(t *testing.T) {
	suite, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	attacks, harmless, silent := 0, 0, 0 // stages that expect a match, none, only a status
	for _, test := range suite {
		for _, s := range test.Stages {
			switch {
			case s.Expect.attack():
				attacks++
			case s.Expect.NoRules != nil || s.Expect.NoLog != nil:
				harmless++
			default:
				silent++
			}
			if !strings.Contains(string(s.Request), "\r\n\r\n") {
				t.Errorf("%s: %q is no request", test.ID, s.Request)
			}
		}
	}
	if len(suite) != 4674 || attacks != 3757 || harmless != 902 || silent != 21 {
		t.Errorf("%d tests, %d stages that expect a match, %d that expect none, %d only a status", len(suite), attacks, harmless, silent)
	}
}

func TestAFileIsReadStrictly(t *testing.T) {
	const head = "rule_id: 942100\ntests:\n  - test_id: 3\n    stages:\n      - input:\n"
	for name, c := range map[string]struct{ text, want string }{
		"unknown field":         {head + "          uri: /\n          follow_redirect: true\n", "follow_redirect"},
		"bad expression":        {head + "          uri: /\n        output: {log: {match_regex: '('}}\n", "missing closing"},
		"bad template":          {head + "          data: '{{ nothing }}'\n", "nothing"},
		"request is not base64": {head + "          encoded_request: '*'\n", "illegal base64"},
	} {
		if _, err := read([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := read([]byte("\n")); err != nil || got != nil {
		t.Errorf("an empty file: %v, %v", got, err)
	}
}

// Requests are put together as go-ftw does it, byte by byte.
func TestRequestsAreBuiltAsTheReferenceRunnerDoes(t *testing.T) {
	for _, c := range []struct{ name, input, want string }{
		{"nothing given", `{}`, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n"},
		{"fields are sorted", `{headers: {b: 1, Host: h, a: ""}}`, "GET / HTTP/1.1\r\nHost: h\r\na: \r\nb: 1\r\nConnection: close\r\n\r\n"},
		{"a line that is no HTTP", `{method: A B, uri: "x y", version: ""}`, "A B x y \r\nConnection: close\r\n\r\n"},
		{"a form is encoded", `{method: POST, data: "a=b c&d=é"}`, "POST / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nConnection: close\r\nContent-Length: 14\r\n\r\na=b+c&d=%C3%A9"},
		{"an encoded form is not", `{method: POST, data: "a=b%20<"}`, "POST / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nConnection: close\r\nContent-Length: 7\r\n\r\na=b%20<"},
		{"a form with a charset is not", `{headers: {Content-Type: application/x-www-form-urlencoded; charset=x}, data: "a=<"}`, "GET / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded; charset=x\r\nConnection: close\r\nContent-Length: 3\r\n\r\na=<"},
		{"a name alone", `{data: "<&b="}`, "GET / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nConnection: close\r\nContent-Length: 6\r\n\r\n%3C&b="},
		{"multipart has CRLF", `{headers: {content-type: multipart/form-data; boundary=b}, data: "x\ny"}`, "GET / HTTP/1.1\r\ncontent-type: multipart/form-data; boundary=b\r\nConnection: close\r\nContent-Length: 4\r\n\r\nx\r\ny"},
		{"nothing is added", `{autocomplete_headers: false, method: POST, data: "a=<"}`, "POST / HTTP/1.1\r\n\r\na=<"},
		{"what is given stays", `{headers: {Content-Length: x, connection: y}, data: "a=b"}`, "GET / HTTP/1.1\r\nContent-Length: x\r\nconnection: y\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\na=b"},
		{"an empty body is announced", `{method: PUT}`, "PUT / HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"},
		{"a template", `{headers: {Content-Type: text/plain}, data: '{{ "ab" | repeat 3 }}.'}`, "GET / HTTP/1.1\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: 7\r\n\r\nababab."},
		{"raw", `{encoded_request: R0VU}`, "GET"},
	} {
		tests, err := read([]byte("rule_id: 1\ntests:\n- test_id: 1\n  stages:\n  - input: " + c.input + "\n"))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if got := string(tests[0].Stages[0].Request); got != c.want {
			t.Errorf("%s:\n%q, want\n%q", c.name, got, c.want)
		}
	}
}

func TestParseForgives(t *testing.T) {
	for _, c := range []struct{ raw, method, target, proto, host, body string }{
		{"GET /a HTTP/1.1\r\nhost:  h \r\n\r\n", "GET", "/a", "HTTP/1.1", "h", ""},
		{"GET /a b HTTP/9\r\n\r\nrest", "GET", "/a b", "HTTP/9", "", ""},
		{"GET /a \r\nHost: h\r\n\r\n", "GET", "/a", "", "h", ""},
		{"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nabc", "POST", "/", "HTTP/1.1", "", "ab"},
		{"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nabc", "POST", "/", "HTTP/1.1", "", "abc"},
		{"POST / HTTP/1.1\r\nContent-Length: no\r\n\r\nabc", "POST", "/", "HTTP/1.1", "", ""},
		{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nHi \r\n1\r\n!\r\n0\r\n\r\n", "POST", "/", "HTTP/1.1", "", "Hi !"},
	} {
		got, err := Parse([]byte(c.raw))
		if err != nil || got.Method != c.method || got.Target != c.target || got.Proto != c.proto || got.Host != c.host || string(got.Body) != c.body {
			t.Errorf("%q: %+v, %v", c.raw, got, err)
		}
	}
	if _, err := Parse([]byte("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")); err == nil {
		t.Error("chunks that are none were read")
	}
}
