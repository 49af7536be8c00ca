package main

import (
	"fmt"
	"net/http"
	"strings"
)

// A kind says how a scenario is measured.
type kind int

const (
	byWrk        kind = iota // requests over HTTP/1.1 and TLS, connections kept
	byHandshakes             // TLS handshakes
	byHTTP2                  // requests over HTTP/2
	byIdleness               // connections that do nothing
	byMemory                 // memory under load
)

// A reach says how many requests must get to the backend.
type reach int

const (
	every  reach = iota
	none         // a hit, or a refusal
	either       // not looked at
)

// An ability is what a scenario needs of a peer.
type ability int

const (
	forwarding ability = iota // every proxy without a WAF in the way
	caching
	inspecting // a WAF
)

// A scenario is one row of the table, for each peer that can take part.
type scenario struct {
	name  string
	title string
	kind  kind
	needs ability

	host    string
	path    string // with query; @ becomes a number that never repeats when unique is set
	body    string // POST if not empty, with @ as in path
	fields  map[string]string
	unique  bool
	status  int
	size    int // of the answer's body in bytes; 0: not looked at
	backend reach

	tls, curve string // of handshakes, as `gatehouse loadtest` names them
}

func (s scenario) id() string { return s.name }

// wafConnections load a WAF. A request costs it milliseconds, so a few keep it busy;
// and what it has begun and not answered when the load ends has cost time that no
// request is counted for, half a request per connection in a server that works on all
// of them at once. With 64 that would be a tenth of what is measured.
const wafConnections = 8

// connections returns how many load the peer, of those that the command line asks for.
func (s scenario) connections(asked int) int {
	if s.needs == inspecting {
		return min(asked, wafConnections)
	}
	return asked
}

// Names that load goes to. They resolve for the load generator only: see names.go.
const (
	plainHost = "plain.test"
	wafHost   = "waf.test"
)

// sizes of the backend's files, by name.
var sizes = map[string]int{"1k": 1000, "16k": 16_000, "100k": 100_000, "1m": 1_000_000}

var allScenarios = scenarios()

func scenarios() []scenario {
	out := []scenario{
		passThrough("1k", "1 KB"),
		// Before the larger answers, which leave their traces in a process's memory.
		{name: "rss64", title: "memory under pass1k, a WAF's rules loaded", kind: byMemory, host: plainHost, path: "/pass/1k", status: http.StatusOK, size: sizes["1k"]},
		passThrough("100k", "100 KB"), passThrough("1m", "1 MB"),
		hit("1k", "1 KB"), hit("16k", "16 KB"), hit("100k", "100 KB"),
		{name: "hsfull", title: "full handshake, X25519", kind: byHandshakes, host: plainHost, tls: "full", curve: "x25519", backend: either},
		{name: "hsresume", title: "resumed handshake, X25519", kind: byHandshakes, host: plainHost, tls: "resumed", curve: "x25519", backend: either},
		{name: "hspq", title: "full handshake, X25519MLKEM768", kind: byHandshakes, host: plainHost, tls: "full", curve: "x25519mlkem768", backend: either},
		{name: "h2", title: "pass-through, 1 KB, HTTP/2", kind: byHTTP2, host: plainHost, path: "/pass/1k", status: http.StatusOK, size: sizes["1k"]},
	}
	out = append(out, inspected()...)
	return append(out, scenario{
		name: "idle", title: fmt.Sprintf("%d idle connections: CPU of each in %d s, growth of memory in all", idleConnections, idleSeconds),
		kind: byIdleness, host: plainHost, path: "/pass/1k", status: http.StatusOK, size: sizes["1k"],
	})
}

func passThrough(file, size string) scenario {
	return scenario{
		name: "pass" + file, title: "pass-through, " + size, host: plainHost, path: "/pass/" + file,
		status: http.StatusOK, size: sizes[file],
	}
}

func hit(file, size string) scenario {
	return scenario{
		name: "hit" + file, title: "cache hit, " + size, needs: caching, host: plainHost, path: "/keep/" + file,
		status: http.StatusOK, size: sizes[file], backend: none,
	}
}

// inspected returns the scenarios of the WAF, each with values that repeat and (u)
// with values that never do: what remembers values gains nothing from these.
func inspected() []scenario {
	var out []scenario
	add := func(s scenario) {
		s.needs, s.host, s.fields = inspecting, wafHost, withType(s.fields["Content-Type"])
		once := s
		once.path, once.body = strings.ReplaceAll(s.path, "@", ""), strings.ReplaceAll(s.body, "@", "")
		once.fields = replaced(s.fields, "")
		s.name, s.title, s.unique = s.name+"u", s.title+", all values unique", true
		out = append(out, once, s)
	}
	post := func(contentType string) map[string]string { return map[string]string{"Content-Type": contentType} }
	add(scenario{name: "wafget", title: "WAF, GET", path: "/pass/1k?q=garden+chairs@&page=3@&order=newest", status: http.StatusOK, size: sizes["1k"]})
	// The backend answers a POST itself, with a line.
	add(scenario{name: "wafform", title: "WAF, form of 10 fields", path: "/form", body: formBody(), fields: post("application/x-www-form-urlencoded"), status: http.StatusOK})
	add(scenario{name: "wafjson", title: "WAF, JSON of 2 KB", path: "/form", body: jsonBody(), fields: post("application/json"), status: http.StatusOK})
	add(scenario{name: "wafattack", title: "WAF, SQL injection refused", path: "/pass/1k?user=@1%27%20OR%20%271%27%3D%271%27%20UNION%20SELECT%20name,pass%20FROM%20users--%20", status: http.StatusForbidden, backend: none})
	return out
}

// withType returns the fields that a browser sends, which a WAF inspects one by one.
func withType(contentType string) map[string]string {
	out := map[string]string{
		"User-Agent":      "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
		"Accept":          "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
		"Accept-Language": "en-GB,en;q=0.7,de;q=0.3",
		"Accept-Encoding": "gzip, deflate, br",
		"Referer":         "https://waf.test/garden/furniture",
		"Sec-Fetch-Dest":  "document",
		"Sec-Fetch-Mode":  "navigate",
		"Sec-Fetch-Site":  "same-origin",
		"Cookie":          "sid=4c1f09ab77d2e6538b1a@; seen=1; lang=en",
	}
	if contentType != "" {
		out["Content-Type"] = contentType
	}
	return out
}

// replaced returns a copy of fields with each @ replaced.
func replaced(fields map[string]string, by string) map[string]string {
	out := map[string]string{}
	for name, value := range fields {
		out[name] = strings.ReplaceAll(value, "@", by)
	}
	return out
}

func formBody() string {
	var pairs []string
	for i := range 10 {
		pairs = append(pairs, fmt.Sprintf("line%d=number+%d+of+the+address@+book", i, i))
	}
	return strings.Join(pairs, "&")
}

func jsonBody() string {
	var items []string
	for i := range 26 {
		items = append(items, fmt.Sprintf(`{"sku":%d,"label":"chair @ number %d","price":%d.5,"colours":["oak","ash"]}`, 1000+i, i, 20+i))
	}
	return `{"customer":"alice","lines":[` + strings.Join(items, ",") + `]}`
}
