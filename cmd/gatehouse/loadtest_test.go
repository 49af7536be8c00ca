package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"gatehouse/loadtest"
)

func TestLoadtestUsageMistakes(t *testing.T) {
	const url = " http://127.0.0.1:1/"
	for args, says := range map[string]string{
		"":                          "name a URL, or a file with --scenario",
		"--scenario x.yaml" + url:   "not in both",
		"127.0.0.1":                 "begins with http",
		"--rate fast" + url:         "want a number of requests a second",
		"--rate 0" + url:            "above 0",
		"--rate 2000000" + url:      "at most 1000000 a second",
		"-c 0" + url:                "--connections: want more than 0",
		"-d 0" + url:                "--duration: want more than 0",
		"-d 2h" + url:               "duration: want more than 0 and at most 1h",
		"-n 0" + url:                "--requests: want more than 0",
		"--http 3" + url:            "http 3: not supported yet",
		"--tls half" + url:          "want full or resumed",
		"--curve p521" + url:        "want x25519, p256, x25519mlkem768",
		"--slo p99" + url:           "such as \"p99<50ms\"",
		"--slo errorz<1%" + url:     `(did you mean "errors"?)`,
		"--slo zzzzzzzz<1%" + url:   "unknown metric",
		"-H nonsense" + url:         "bad header",
		"-H Host:a" + url:           "name it in the URL",
		"--connect 127.0.0.1" + url: "want HOST:PORT",
		"--durations 1s" + url:      `did you mean "--duration"?`,
		"--scenario x.yaml -X POST": "--method: with --scenario it belongs into the file",
		"--scenario absent.yaml":    "1 problem in absent.yaml",
		"--streams 2" + url:         "only HTTP/2 has them",
		"--handshakes --streams 2 https://127.0.0.1:1/": "streams",
	} {
		code, out, errOut := invoke(t, append([]string{"loadtest"}, strings.Fields(args)...)...)
		want(t, args, code, exitUsage)
		want(t, args, out, "")
		contains(t, args, errOut, says, "--help")
	}
}

func TestLoadtestRefusesWhatIsNotThisMachine(t *testing.T) {
	for _, args := range []string{"http://192.0.2.1/", "--connect 192.0.2.1:443 https://localhost/"} {
		code, out, errOut := invoke(t, append([]string{"loadtest"}, strings.Fields(args)...)...)
		want(t, args, code, exitUsage)
		want(t, args, out, "")
		contains(t, args, errOut, "192.0.2.1 is no loopback address", "--i-own-this")
	}
}

// hello starts a server that answers 200, except to /bad.
func hello(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		fmt.Fprint(w, "hello")
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestLoadtestSaysWhatItFound(t *testing.T) {
	url, dir := hello(t), t.TempDir()
	code, out, errOut := invoke(t, "loadtest", "-n", "20", "-c", "2", "--warmup", "0s", "-o", "json", "--json", filepath.Join(dir, "r.json"),
		"--slo", "errors<0.1%", "--slo", "p99<1h", "--slo", "rate>0", url+"/a")
	want(t, "code", code, exitOK)
	want(t, "stderr", errOut, "")
	var r loadtest.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if r.Requests != 20 || r.Statuses["200"] != 20 || len(r.SLOs) != 3 || r.Missed || r.Targets[0].Name != "GET "+url+"/a" || r.Latency.P95 < r.Latency.P90 || r.Latency.P95 > r.Latency.P99 || r.Latency.P95 <= 0 {
		t.Errorf("got %s", out)
	}
	written, err := os.ReadFile(filepath.Join(dir, "r.json"))
	if err != nil || string(written) != out {
		t.Errorf("the file has %s, error %v", written, err)
	}
	code, out, _ = invoke(t, "loadtest", "-n", "20", "-c", "2", "--warmup", "0s", url)
	want(t, "code", code, exitOK)
	contains(t, "text", out, "20")
}

func TestLoadtestExitsWith1WhenSomethingIsWrong(t *testing.T) {
	url := hello(t)
	for args, says := range map[string]string{
		"--slo p50<1ns " + url + "/":                    "missed p50<1ns: ",
		"--slo errors<10% " + url + "/ " + url + "/bad": "missed errors<10%: ",
		url + "/bad": "no request succeeded",
	} {
		code, out, errOut := invoke(t, append([]string{"loadtest", "-n", "20", "-c", "1", "--warmup", "0s"}, strings.Fields(args)...)...)
		want(t, args, code, exitFailed)
		contains(t, args, errOut, says)
		contains(t, args, out, "20")
	}
	code, out, _ := invoke(t, "loadtest", "-n", "20", "-c", "1", "--warmup", "0s", "--expect", "500", url+"/bad")
	want(t, "500 is expected", code, exitOK)
	contains(t, "500 is expected", out, "20")
	code, out, errOut := invoke(t, "loadtest", "http://127.0.0.1:1/")
	want(t, "nobody there", code, exitFailed)
	want(t, "nobody there", out, "")
	contains(t, "nobody there", errOut, "connect to 127.0.0.1:1")
	code, _, errOut = invoke(t, "loadtest", "--ca", "absent.pem", strings.Replace(url, "http:", "https:", 1))
	want(t, "no such CA", code, exitUsage)
	contains(t, "no such CA", errOut, "--ca absent.pem: cannot be read")
}

func TestLoadtestEndsWithCtrlCAndPrintsWhatItHas(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if n.Add(1) > 5 {
			cancel()
			<-r.Context().Done()
		}
	}))
	defer s.Close()
	var out, errOut bytes.Buffer
	code := execute(ctx, &terminal{In: strings.NewReader(""), Out: &out, Err: &errOut},
		[]string{"loadtest", "-c", "1", "-d", "1h", "--warmup", "0s", "-o", "json", s.URL})
	want(t, "code", code, exitFailed) // a part proves nothing
	contains(t, "interrupted", errOut.String(), "interrupted after")
	var r loadtest.Result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Requests != 5 || !r.Interrupted {
		t.Errorf("%v: %s", err, &out)
	}
}

// Whether the result can be written is found out before the load, not after an hour of it.
func TestLoadtestTriesItsFilesBeforeTheLoad(t *testing.T) {
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer s.Close()
	for _, flag := range []string{"--html", "--json"} {
		code, out, errOut := invoke(t, "loadtest", "-n", "1", flag, filepath.Join(t.TempDir(), "absent", "x"), s.URL)
		want(t, flag, code, exitFailed)
		want(t, flag, out, "")
		contains(t, flag, errOut, "write the result: ", "absent")
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestLocalhostNamesAreThisMachine(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	url := strings.Replace(s.URL, "127.0.0.1", "www.shop.localhost", 1)
	code, _, errOut := invoke(t, "loadtest", "-n", "1", "-c", "1", "--warmup", "0s", url)
	want(t, errOut, code, exitOK)
}

func TestLoadtestScenario(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		path, _, _ := strings.Cut(r.RequestURI, "=")
		mu.Lock()
		defer mu.Unlock()
		seen[fmt.Sprintf("%s %s %s %d", r.Method, r.Host, path, len(body))]++
		if r.Header.Get("X-Kind") == "attack" {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer s.Close()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "order.json"), `{"order": {n}}`)
	write(t, filepath.Join(dir, "mix.yaml"), `
hosts: ["site{1..2}.test", shop.test]
requests:
  - {url: "http://{host}/page?n={n}", weight: 3}
  - url: http://shop.test/orders
    body_file: order.json
    headers: {Content-Type: application/json, X-Order: "{n}"}
  - {url: http://shop.test/up, method: PUT, body_bytes: 2KiB, weight: 0.5}
  - {url: "http://shop.test/x?q=<script>", headers: {X-Kind: attack}, weight: 0.5, expect: [403]}
`)
	code, out, errOut := invoke(t, "loadtest", "--scenario", filepath.Join(dir, "mix.yaml"), "--connect", s.Listener.Addr().String(),
		"-n", "100", "-c", "1", "--warmup", "0s", "-o", "json")
	want(t, "stderr", errOut, "")
	want(t, "code", code, exitOK)
	var r loadtest.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	want(t, "page of a range's host", seen["GET site2.test /page?n 0"], 20)
	want(t, "orders", seen["POST shop.test /orders 27"], 20)
	want(t, "filler", seen["PUT shop.test /up 2048"], 10)
	want(t, "attack", seen["GET shop.test /x?q 0"], 10)
	want(t, "unexpected", r.Unexpected, 0)
	want(t, "targets", len(r.Targets), 4)
}

func TestLoadtestScenarioMistakesHaveTheirPlace(t *testing.T) {
	t.Chdir(t.TempDir())
	for text, says := range map[string]string{
		"requests:\n  - {ulr: http://a.test/}\n":                                                                                `mix.yaml:2:6: unknown key "ulr" in requests[0] (did you mean "url"?)`,
		"requests:\n  - {url: http://a.test/, weight: much}\n":                                                                  "mix.yaml:2:35: requests[0].weight: want a number above 0",
		"requests:\n  - {url: http://a.test/, weight: 0}\n":                                                                     "the weight must be above 0",
		"requests:\n  - {url: http://a.test/, headers: [a]}\n":                                                                  "want a mapping (key: value) here",
		"requests:\n  - {url: http://a.test/, headers: {X-A: 1, X-A: 2}}\n":                                                     "requests[0].headers.X-A: given twice",
		"requests:\n  - {url: a.test}\n":                                                                                        "begins with http",
		"requests:\n  - {url: \"http://{host}/\"}\n":                                                                            "needs a list of hosts",
		"requests:\n  - {url: http://a.test/, body: a, body_bytes: 1KiB}\n":                                                     "exclude each other",
		"requests:\n  - {url: http://a.test/, body_file: absent}\n":                                                             "body_file absent: cannot be read",
		"requests:\n  - {url: http://a.test/, body_bytes: 1GiB}\n":                                                              "at most 64MiB",
		"hosts: [\"a{9..1}.test\"]\nrequests:\n  - {url: http://a.test/}\n":                                                     "mix.yaml:1:9: hosts[0]: a range goes upwards",
		"hosts: [\"a{1..60000}.test\", \"b{1..60000}.test\", \"c{1..60000}.test\"]\nrequests:\n  - {url: \"http://{host}/\"}\n": "hosts[1]: with it there are more than 100000 hosts",
		"requests:" + strings.Repeat("\n  - {url: http://a.test/, body_bytes: 60MiB}", 6) + "\n":                                "requests[4]: with its body, those of all requests are larger than 256MiB together",
		"hosts: [\"a{1..2}{1..2}.test\"]\nrequests:\n  - {url: \"http://{host}/\"}\n":                                           "hosts[0]: want a host, or one with a range",
		"hosts: [\"http://a{1..2}.test\"]\nrequests:\n  - {url: \"http://{host}/\"}\n":                                          "hosts[0]: want a host, or one with a range",
		"requests:\n  - {url: http://a.test/, expect: []}\n":                                                                    "expect: the list is empty",
		"requests:\n  - {url: http://a.test/, weight: 1e300}\n":                                                                 "requests[0].weight: want a number above 0 and below 1e12",
		"requests:" + strings.Repeat("\n  - {url: http://a.test/}", 1001) + "\n":                                                "1001 targets: at most 1000",
		"hosts: [\"http://a.test\"]\nrequests:\n  - {url: http://a.test/}\n":                                                    "want a host",
		"hosts: [a.test]\nrequests:\n  - {url: http://a.test/}\n":                                                               "mix.yaml:1:8: hosts: they have no effect: no url has {host} in it",
		"requests:\n  - {url: http://a.test/, expect: [200, 700]}\n":                                                            "mix.yaml:2:41: requests[0].expect[1]: want a status from 100 to 599",
		"requests:\n  - {url: http://a.test/, expect: 200}\n":                                                                   "want a list",
		"requests:\n  - {url: http://a.test/, weight: -1}\n":                                                                    "requests[0].weight: want a number above 0",
		"requests:\n  - {url: http://a.test/, url: http://b.test/}\n":                                                           "given twice",
		"requests:\n  - {url: \"http://a.test/a b\"}\n":                                                                         "must be sent as %20",
		"requests:\n  - {method: GET}\n":                                                                                        "want a URL",
		"requests:\n  - {url: http://a.test/, headers: {\"X A\": 1}}\n":                                                         "no name of a field",
		"urls: [http://a.test/]\n":                                                                                              `unknown key "urls"`,
		"[]\n":                                                                                                                  "want a mapping",
		"":                                                                                                                      "requests: there is none",
		"requests: []\n":                                                                                                        "requests: there is none",
		"requests: [\n":                                                                                                         "mix.yaml:1:11: not YAML",
	} {
		write(t, "mix.yaml", text)
		code, _, errOut := invoke(t, "loadtest", "--scenario", "mix.yaml")
		want(t, text, code, exitUsage)
		contains(t, text, errOut, says)
	}
}

func TestNoProgressWhereThereIsNoTerminal(t *testing.T) {
	var b bytes.Buffer
	if show, wipe := progressOn(&b); show != nil {
		t.Error("progress where there is no terminal")
	} else if wipe(); b.Len() > 0 {
		t.Errorf("wrote %q", &b)
	}
}
