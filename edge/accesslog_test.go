package edge

import (
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/internal/edgetest"
)

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
