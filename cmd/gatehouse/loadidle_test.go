package main

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"gatehouse/loadtest"
)

// counted starts a server that counts what reaches it.
func counted(t *testing.T) (url string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(s.Close)
	return s.URL, asked
}

// A flag that changes nothing makes its user take the result for that of another load.
func TestLoadtestRefusesFlagsWithoutEffect(t *testing.T) {
	url, asked := counted(t)
	secure := strings.Replace(url, "http:", "https:", 1)
	for args, says := range map[string]string{
		"--curve p256 " + url:                          "--curve has no effect: no URL begins with https://",
		"--tls full " + url:                            "--tls has no effect: no URL begins with https://",
		"--ca a.pem " + url:                            "--ca has no effect: no URL begins with https://",
		"--insecure " + url:                            "--insecure has no effect: no URL begins with https://",
		"--insecure --ca a.pem " + secure:              "--ca has no effect: --insecure takes any certificate",
		"--streams 1 " + url:                           "--streams has no effect: only HTTP/2 has streams",
		"--streams 1 --no-keepalive --http 2 " + url:   "--streams has no effect: each connection has one request at most",
		"--handshakes --data a " + secure:              "--data has no effect: --handshakes sends no request",
		"--handshakes -H A:b " + secure:                "--header has no effect: --handshakes sends no request",
		"--handshakes -X PUT " + secure:                "--method has no effect: --handshakes sends no request",
		"--handshakes --expect 200 " + secure:          "--expect has no effect: --handshakes sends no request",
		"--handshakes --no-keepalive " + secure:        "--no-keepalive has no effect: --handshakes sends no request",
		"--handshakes --http 2 " + url:                 "--handshakes: " + url + " has none: want https://",
		"--handshakes " + secure + " " + url:           "--handshakes: " + url + " has none: want https://",
		"-n 5000 --rate 100 -d 2s " + url:              "--requests has no effect: --rate 100 plans 200 requests in 2s, so give --duration more time",
		"-o json --json - " + url:                      "--json - has no effect: -o json writes the result there already",
		"-o json --html - " + url:                      "--html -: -o json writes to standard output already",
		"--json - --html - " + url:                     "--html -: --json goes there already",
		"--json absent/r --html absent/r " + url:       "--html absent/r: --json goes there already",
		"--scenario absent.yaml --handshakes --data a": "--data: with --scenario it belongs into the file",
	} {
		code, out, errOut := invoke(t, append([]string{"loadtest"}, strings.Fields(args)...)...)
		want(t, args, code, exitUsage)
		want(t, args, out, "")
		contains(t, args, errOut, says, "--help")
	}
	want(t, "requests sent", asked.Load(), int64(0))
}

// What has an effect is taken, also beside flags that would take it away if they were true.
func TestLoadtestTakesFlagsWithAnEffect(t *testing.T) {
	url, _ := counted(t)
	for _, args := range []string{
		"--insecure=false", "--handshakes=false --data a", "-n 50 --rate 100 -d 500ms",
		"--warmup 1ms -c 6", // in the warm-up all clients are busy
	} {
		code, _, errOut := invoke(t, append([]string{"loadtest", "-n", "5", "-c", "1", url}, strings.Fields(args)...)...)
		want(t, args+": "+errOut, code, exitOK)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	for _, args := range []string{"--http 2 --streams 1", "--tls full --curve p256", "--handshakes --http 2"} {
		code, _, errOut := invoke(t, append([]string{"loadtest", "-n", "5", "-c", "1", "--insecure", s.URL}, strings.Fields(args)...)...)
		want(t, args+": "+errOut, code, exitOK)
	}
}

// Each mistake gets one message that says what is wanted, and nothing is sent.
func TestLoadtestMistakesSendNothing(t *testing.T) {
	url, asked := counted(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "not.pem"), "no certificate")
	for args, says := range map[string]string{
		"127.0.0.1:8080":                   "begins with http:// or https://",
		"http://":                          "the host is missing",
		"http://:80/":                      "the host is missing",
		"http://127.0.0.1:99999/":          "http://127.0.0.1:99999/: want a port from 1 to 65535",
		"http://127.0.0.1:0/":              "want a port from 1 to 65535",
		"http://[::1]:99999/":              "want a port from 1 to 65535",
		"http://a:b@127.0.0.1/":            "a user does not belong here",
		"--connect 127.0.0.1:0 " + url:     "--connect 127.0.0.1:0: want HOST:PORT, such as 127.0.0.1:8443",
		"--connect 127.0.0.1:99999 " + url: "want HOST:PORT",
		"--connect :80 " + url:             "want HOST:PORT",
		"--connect " + url + " " + url:     "want HOST:PORT",
		"-d 10 " + url:                     "--duration 10: want a time with its unit, such as 10s or 500ms",
		"-d -5s " + url:                    "--duration: want more than 0",
		"--warmup -1s " + url:              ": --warmup: want 0 to 1h",
		"--timeout 0s " + url:              "--timeout: want more than 0",
		"-c many " + url:                   "--connections many: want a whole number",
		"-c 99999999999999999999 " + url:   "--connections 99999999999999999999: the number is too large",
		"-c 10001 " + url:                  ": --connections: want 1 to 10000",
		"--rate 100 -c 0 " + url:           "--connections: want more than 0",
		"-n 1e6 " + url:                    "--requests 1e6: want a whole number, digits only",
		"--rate -5 " + url:                 "--rate -5: want a number of requests a second above 0",
		"--rate nan " + url:                "above 0",
		"--rate 1,000 " + url:              "such as 1000 or 1000/s",
		"--rate= " + url:                   "--rate: its value is empty",
		"--connect= " + url:                "--connect: its value is empty",
		"--json= " + url:                   "--json: its value is empty",
		"-H :v " + url:                     `bad header ":v": want 'Name: value'`,
		"-H Content-Length:3 " + url:       "it follows from the body and the plan",
		"--data @absent.json " + url:       "--data @absent.json: cannot be read: no such file",
		"--data @" + dir + " " + url:       "cannot be read: is not a regular file",
		"--ca " + filepath.Join(dir, "not.pem") + " https://127.0.0.1/": "there is no certificate in it (want PEM)",
		"--expect 700 " + url:       "--expect 700: want a status from 100 to 599, a range (200-299) or a class (2xx)",
		"--expect 99 " + url:        "want a status from 100 to 599",
		"--expect 200, " + url:      "want a status from 100 to 599",
		"--expect 299-200 " + url:   "a range goes upwards: 200-299, not 299-200",
		"--expect 200-700 " + url:   "want a status from 100 to 599",
		"--expect 6xx " + url:       "want a status from 100 to 599",
		"--handshakes=maybe " + url: "--handshakes maybe: want true or false",
		"--slo errors<1 " + url:     "want a share of all requests with its sign",
		"--slo errors<150% " + url:  "want a share from 0% to 100%",
		"--slo p100<1s " + url:      "the greatest latency is called max",
		"--slo p99<50 " + url:       "want a duration with its unit",
	} {
		code, out, errOut := invoke(t, append([]string{"loadtest"}, strings.Fields(args)...)...)
		want(t, args+": "+errOut, code, exitUsage)
		want(t, args, out, "")
		contains(t, args, errOut, says, "--help")
		want(t, args+": lines", strings.Count(errOut, "\n"), 2)
	}
	want(t, "requests sent", asked.Load(), int64(0))
}

func TestLoadtestOfPlainServerByHTTPSSaysSo(t *testing.T) {
	url, asked := counted(t)
	dir := t.TempDir()
	code, out, errOut := invoke(t, "loadtest", "--json", filepath.Join(dir, "r.json"), strings.Replace(url, "http:", "https:", 1))
	want(t, "code", code, exitFailed)
	want(t, "stdout", out, "")
	contains(t, "stderr", errOut, "what answers is no TLS; is this the port for http?\n")
	want(t, "requests sent", asked.Load(), int64(0))
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// More clients than requests are no mistake: the default has them, too.
func TestLoadtestOpensNoMoreConnectionsThanRequests(t *testing.T) {
	url, asked := counted(t)
	code, out, errOut := invoke(t, "loadtest", "-n", "3", "-c", "64", "-o", "json", url)
	want(t, "code", code, exitOK)
	want(t, "note", errOut, "note: 3 requests have no use for --connections 64: 3 are opened\n")
	contains(t, "result", out, `"connections": 3,`)
	code, out, errOut = invoke(t, "loadtest", "-n", "3", "-o", "json", url)
	want(t, "by default", code, exitOK)
	want(t, "by default", errOut, "")
	contains(t, "by default", out, `"connections": 3,`)
	want(t, "requests sent", asked.Load(), int64(6))
}

// A server for https answers plain requests with 400.
func TestLoadtestOfTLSServerByHTTPSaysSo(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	plain := strings.Replace(s.URL, "https:", "http:", 1)
	code, _, errOut := invoke(t, "loadtest", "-n", "3", "-c", "1", plain)
	want(t, "code", code, exitFailed)
	contains(t, "hint", errOut, "every answer has the status 400; is this the port for https?")
	code, _, errOut = invoke(t, "loadtest", "-n", "3", "-c", "1", "--expect", "400", plain)
	want(t, "expected: "+errOut, code, exitOK)
}

func TestExpectTakesListsRangesAndClasses(t *testing.T) {
	for text, wanted := range map[string]int{"404": 1, "2xx": 100, "200-299": 100, "2XX, 404,500-502": 104, "599": 1, "100": 1} {
		var s statuses
		if err := s.Set(text); err != nil || len(s) != wanted {
			t.Errorf("%s: %d statuses, error %v, want %d", text, len(s), err, wanted)
		}
	}
	url := hello(t) + "/bad" // it answers 500
	for args, wanted := range map[string]int{
		"--expect 500": exitOK, "--expect 5xx": exitOK, "--expect 200,499-500": exitOK, "--expect 200 --expect 500": exitOK,
		"--expect 2xx": exitFailed, "--expect 501-599": exitFailed, "": exitFailed,
	} {
		code, _, _ := invoke(t, append([]string{"loadtest", "-n", "5", "-c", "1", url}, strings.Fields(args)...)...)
		want(t, args, code, wanted)
	}
}

// With -n as many requests are sent as it says: no warm-up that nobody asked for.
func TestLoadtestOfFiveRequestsSendsFive(t *testing.T) {
	url, asked := counted(t)
	code, _, errOut := invoke(t, "loadtest", "-n", "5", url)
	want(t, errOut, code, exitOK)
	want(t, "requests sent", asked.Load(), int64(5))
}

func TestLoadtestEmptyDataIsABody(t *testing.T) {
	var posts atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.ContentLength == 0 {
			posts.Add(1)
		}
	}))
	defer s.Close()
	code, _, errOut := invoke(t, "loadtest", "-n", "3", "--data", "", s.URL)
	want(t, errOut, code, exitOK)
	want(t, "posts", posts.Load(), int64(3))
}

// "-" is standard output, no file of that name.
func TestLoadtestWritesItsFilesToStandardOutput(t *testing.T) {
	url := hello(t)
	t.Chdir(t.TempDir())
	for flag, begins := range map[string]string{"--json": "{\n", "--html": "<!doctype html>"} {
		code, out, errOut := invoke(t, "loadtest", "-n", "5", flag, "-", url)
		want(t, flag, code, exitOK)
		if !strings.HasPrefix(strings.ToLower(out), begins) || strings.Contains(out, "closed model, 64 connections, HTTP/1.1, no TLS, keep-alive, 10 s\n") {
			t.Errorf("%s - wrote %q", flag, out)
		}
		contains(t, flag, errOut, "closed model", "latency")
	}
	code, out, errOut := invoke(t, "loadtest", "-n", "5", "--json", "-", "--html", "r.html", url)
	want(t, "both", code, exitOK)
	contains(t, "both", out, `"schema": 1`)
	contains(t, "both", errOut, "latency")
	left, err := os.ReadDir(".")
	if err != nil || len(left) != 1 || left[0].Name() != "r.html" {
		t.Errorf("files: %v, %v", left, err)
	}
}

// TestLoadHelpIsWhatHolds: the scenario in the help is one, and has every key; bounds
// and percentiles are those of the code.
func TestLoadHelpIsWhatHolds(t *testing.T) {
	_, help, _ := invoke(t, "loadtest", "--help")
	contains(t, "help", help, scenarioExample, "at most 1h; ", "at most 10,000; ", "at most 1,000,000;\n1,000 requests in a mix",
		"100,000 hosts", "64 MiB a body, 256 MiB all", "HTTP/3 (--http 3) is not supported yet", "p0 to p99.999", "errors<0.1%")
	for i, line := range strings.Split(loadHelp, "\n") {
		if len([]rune(line)) > 88 {
			t.Errorf("line %d has %d columns: %s", i+1, len([]rune(line)), line)
		}
	}
	t.Chdir(t.TempDir())
	write(t, "mix.yaml", scenarioExample)
	plan := loadtest.Plan{}
	if err := readScenario("mix.yaml", &plan); err != nil {
		t.Fatal(err)
	}
	want(t, "hosts", len(plan.Hosts), 100)
	want(t, "targets", len(plan.Targets), 2)
	want(t, "expected", len(plan.Targets[1].Expect), 104)
	for _, key := range jsonKeys(scenario{}, scenarioRequest{}) {
		contains(t, "the example's keys", scenarioExample, key+":")
	}
}

// jsonKeys are the names that fields of structs have in a file.
func jsonKeys(structs ...any) (keys []string) {
	for _, s := range structs {
		for field := range reflect.TypeOf(s).Fields() {
			keys = append(keys, field.Tag.Get("json"))
		}
	}
	return keys
}
