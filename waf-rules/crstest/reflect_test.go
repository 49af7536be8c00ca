package crstest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestBackendReflects(t *testing.T) {
	server := httptest.NewServer(Backend())
	defer server.Close()
	for _, c := range []struct{ method, path, body, want string }{
		{"GET", "/", "", `200 "" ""`},
		{"POST", "/post", `{"status": 500}`, `200 "" ""`},
		{"GET", "/reflect", "", `200 "" ""`},
		{"POST", "/reflect", `{"status": 404, "headers": {"content-TYPE": "text/x"}, "body": "not here"}`, `404 "text/x" "not here"`},
		{"POST", "/reflect/x?y", `{"body": "<html>"}`, `200 "text/html; charset=utf-8" "<html>"`},
		{"POST", "/reflect", `{"encodedBody": "aGk="}`, `200 "text/plain; charset=utf-8" "hi"`},
		{"POST", "/reflect", `{"encodedBody": "?"}`, `400 "text/plain; charset=utf-8" "invalid base64 encoding of response body"`},
		{"POST", "/reflect", `{"status": 600}`, `400 "text/plain; charset=utf-8" "Invalid status code: 600"`},
		{"POST", "/reflect", `no`, `400 "text/plain; charset=utf-8" "Invalid JSON in request body"`},
		{"POST", "/reflect", `{"headers": {"X-A": "b"}}`, `200 "" ""`},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, server.URL+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Error(err)
		}
		resp.Body.Close()
		got := fmt.Sprintf("%d %q %q", resp.StatusCode, resp.Header.Get("Content-Type"), body)
		if got != c.want || resp.ContentLength < 0 || strings.Contains(c.body, "X-A") != (resp.Header.Get("X-A") == "b") {
			t.Errorf("%s %s %s: %s, want %s, length %d", c.method, c.path, c.body, got, c.want, resp.ContentLength)
		}
	}
}
