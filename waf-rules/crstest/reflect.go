package crstest

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// An Answer is what the tests' backend says to a request.
type Answer struct {
	Status int
	Fields [][2]string
	Body   []byte
}

// Reflect is albedo, the backend that the tests are written for: a POST to /reflect is answered with
// the response that its body describes in JSON, and everything else with an empty 200. Unlike
// albedo it always says how long its answer is: a stream of unknown length is never inspected here.
func Reflect(method, path string, body []byte) Answer {
	if method != http.MethodPost || path != "/reflect" && !strings.HasPrefix(path, "/reflect/") {
		return plain(http.StatusOK, "")
	}
	var spec struct {
		Status  int               `json:"status"`
		Headers map[string]string `json:"headers"`
		Body    string            `json:"body"`
		Encoded string            `json:"encodedBody"`
	}
	if err := json.Unmarshal(body, &spec); err != nil {
		return plain(http.StatusBadRequest, "Invalid JSON in request body")
	}
	if spec.Status == 0 {
		spec.Status = http.StatusOK
	}
	if spec.Status < 100 || spec.Status >= 600 {
		return plain(http.StatusBadRequest, "Invalid status code: "+strconv.Itoa(spec.Status))
	}
	if spec.Body == "" {
		decoded, err := base64.StdEncoding.DecodeString(spec.Encoded)
		if err != nil {
			return plain(http.StatusBadRequest, "invalid base64 encoding of response body")
		}
		spec.Body = string(decoded)
	}
	a := plain(spec.Status, spec.Body)
	for _, name := range slices.Sorted(maps.Keys(spec.Headers)) {
		a.Fields = slices.DeleteFunc(a.Fields, func(f [2]string) bool { return strings.EqualFold(f[0], name) })
		a.Fields = append(a.Fields, [2]string{name, spec.Headers[name]})
	}
	return a
}

// plain is an answer with the fields that Go's server gives it.
func plain(status int, body string) Answer {
	a := Answer{Status: status, Body: []byte(body), Fields: [][2]string{{"Content-Length", strconv.Itoa(len(body))}}}
	if body != "" {
		a.Fields = append(a.Fields, [2]string{"Content-Type", http.DetectContentType(a.Body)})
	}
	return a
}

// Backend serves [Reflect].
func Backend() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		a := Reflect(r.Method, r.URL.Path, body)
		for _, f := range a.Fields {
			w.Header().Add(f[0], f[1])
		}
		w.WriteHeader(a.Status)
		_, _ = w.Write(a.Body) // to a HEAD, or a client that has gone
	})
}
