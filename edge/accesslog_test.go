package edge

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/internal/edgetest"
)

// An accessRecord is an access line as its readers have it.
type accessRecord struct {
	Time       string  `json:"time"`
	ID         string  `json:"id"`
	Client     string  `json:"client"`
	Host       string  `json:"host"`
	Method     string  `json:"method"`
	Target     string  `json:"target"`
	Proto      string  `json:"proto"`
	Status     int     `json:"status"`
	Bytes      int64   `json:"bytes"`
	DurationMS float64 `json:"duration_ms"`
	Tenant     string  `json:"tenant"`
	Vhost      string  `json:"vhost"`
	WAF        string  `json:"waf"`
	Rules      []int   `json:"rules"`
	Cache      string  `json:"cache"`
	Backend    string  `json:"backend"`
	Error      string  `json:"error,omitempty"`
}

func loggedRequest() *request {
	r := &request{
		ID: "n1-0123456789abcdef", Method: "GET", Target: "/some/page?with=query", Proto: "HTTP/1.1", Host: "www.shop.test",
		ClientText: "192.0.2.1", Start: time.Now(),
	}
	r.response.status, r.response.sent = 200, 1000
	r.record.Tenant, r.record.Route, r.record.Backend = "shop", "www.shop.test", "http://127.0.0.1:9000"
	return r
}

func BenchmarkAccessLine(b *testing.B) {
	for _, format := range []string{FormatCombined, FormatJSON} {
		b.Run(format, func(b *testing.B) {
			out, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
			if err != nil {
				b.Fatal(err)
			}
			defer out.Close()
			log, err := NewAccessLog(out, format, nil)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				r := loggedRequest()
				for pb.Next() {
					log.write(r, time.Millisecond)
				}
			})
			b.StopTimer()
			if err := log.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// stuck is a writer that takes nothing until it is opened.
type stuck chan struct{}

func (s stuck) Write(p []byte) (int, error) { <-s; return len(p), nil }

func TestAccessLogThatIsNotReadBlocksNoRequest(t *testing.T) {
	out := make(stuck)
	var said edgetest.Output
	log, err := NewAccessLog(out, FormatJSON, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	if _, err := New(Options{AccessLog: log, Registerer: registry}); err != nil {
		t.Fatal(err)
	}
	r := loggedRequest()
	r.Target = "/?q=" + strings.Repeat("x", 8000)
	const lines = 2000 // 16 MB
	for range lines {
		log.write(r, time.Millisecond) // hangs here for ever if it waits for the writer
	}
	lost := log.Lost()
	if lost == 0 || lost >= lines {
		t.Errorf("%d of %d lines were lost", lost, lines)
	}
	if got := strings.Count(said.String(), "access log cannot be written"); got != 1 {
		t.Errorf("said %d times that lines are lost, want once:\n%s", got, said.String())
	}
	if got := counted(t, registry, "gatehouse_access_log_lost_lines_total"); got != float64(lost) {
		t.Errorf("%v lost lines are counted, want %d", got, lost)
	}
	close(out)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), "access log is being written again") {
		t.Errorf("nobody was told that lines are written again:\n%s", said.String())
	}
}

func counted(t *testing.T, g prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

// Whatever a client sends, a line is one line and one JSON object with the texts that it sent.
func TestAccessLineIsJSONWhateverTheClientSends(t *testing.T) {
	for _, text := range []string{
		"", "plain", `quote " and \ backslash`, "line\nbreak\r\n", "\x00\x1f\x7f", "größer", "\xff\xfe bad", "<script>&", "\u2028\u2029", "{}[],:",
	} {
		r := loggedRequest()
		r.Method, r.Target, r.Host, r.RawHost, r.ClientText, r.ID = text, text, "", text, text, text
		r.record.Tenant, r.record.Route, r.record.Cache, r.record.Backend = text, text, text, text
		r.record.WAF.Verdict, r.record.WAF.Rules = text, []int{942100, 949110}
		r.record.Err = errors.New("backend: " + text)
		line := appendJSON(nil, r, 1234567*time.Nanosecond)
		if n := strings.Count(string(line), "\n"); n != 1 || line[len(line)-1] != '\n' {
			t.Errorf("%q makes %d lines: %q", text, n, line)
		}
		var got accessRecord
		decoder := json.NewDecoder(bytes.NewReader(line))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&got); err != nil {
			t.Errorf("%q: %v in %s", text, err, line)
			continue
		}
		valid := strings.ToValidUTF8(text, "\ufffd")
		if strings.Contains(text, "\xff\xfe") {
			valid = "\ufffd\ufffd bad" // one for each byte
		}
		want := accessRecord{
			Time: r.Start.UTC().Format("2006-01-02T15:04:05.000Z07:00"), ID: valid, Client: valid, Host: valid, Method: valid, Target: valid,
			Proto: r.Proto, Status: 200, Bytes: 1000, DurationMS: 1.234, Tenant: valid, Vhost: valid, WAF: valid,
			Rules: []int{942100, 949110}, Cache: valid, Backend: valid, Error: "backend: " + valid,
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q:\n got %+v\nwant %+v", text, got, want)
		}
	}
}

func TestAccessLineOfARequestWithoutRulesHasAnEmptyList(t *testing.T) {
	if line := appendJSON(nil, loggedRequest(), time.Millisecond); !bytes.Contains(line, []byte(`"waf":"","rules":[],"cache":"","backend":`)) || bytes.Contains(line, []byte("error")) {
		t.Errorf("%s", line)
	}
}
