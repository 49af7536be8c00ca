package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type event struct {
	N int `json:"n"`
}

// receiver answers with statuses, the last one for ever, and keeps what it got.
type receiver struct {
	mu       sync.Mutex
	statuses []int
	got      []event
	asked    int
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	status := r.statuses[0]
	if len(r.statuses) > 1 {
		r.statuses = r.statuses[1:]
	}
	var e event
	if status == 200 && req.Method == http.MethodPost && req.Header.Get("Content-Type") == "application/json" && json.Unmarshal(body, &e) == nil {
		r.got = append(r.got, e)
	}
	if status == 302 {
		w.Header().Set("Location", "/elsewhere")
	}
	w.WriteHeader(status)
}

func (r *receiver) seen() (asked int, got []event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked, append([]event(nil), r.got...)
}

// start runs a sender against statuses.
func start(t *testing.T, log io.Writer, statuses ...int) (*Sender, *receiver, *prometheus.Registry) {
	t.Helper()
	r := &receiver{statuses: statuses}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	registry := prometheus.NewPedanticRegistry()
	transport := &http.Transport{}
	s, err := New(Options{
		URL: server.URL + "/services/hunter2", Transport: transport, Pause: time.Millisecond, Registerer: registry,
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done; transport.CloseIdleConnections() })
	return s, r, registry
}

func count(t *testing.T, registry *prometheus.Registry, result string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range families[0].GetMetric() {
		if m.GetLabel()[0].GetValue() == result {
			return m.GetCounter().GetValue()
		}
	}
	return -1
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(time.Millisecond) // between two polls of the state awaited
	}
}

func TestEventsAreSentAgainUntilTheyArrive(t *testing.T) {
	s, r, registry := start(t, io.Discard, 503, 429, 200)
	s.Send(event{1})
	s.Send(event{2})
	eventually(t, "both are there", func() bool { _, got := r.seen(); return len(got) == 2 && got[0].N == 1 && got[1].N == 2 })
	eventually(t, "both are counted", func() bool { return count(t, registry, "sent") == 2 })
	if asked, _ := r.seen(); asked != 4 {
		t.Errorf("it was asked %d times, want 4", asked)
	}
}

// safeBuffer is a log that the sender writes while the test reads.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestEventsThatDoNotArriveAreCountedAndTheURLStaysSecret(t *testing.T) {
	for status, want := range map[int]int{500: 3, 404: 1, 302: 1} { // a redirect is not followed, and a refusal not repeated
		var log safeBuffer
		s, r, registry := start(t, &log, status)
		s.Send(event{1})
		eventually(t, "it has failed", func() bool { return count(t, registry, "failed") == 1 })
		if asked, _ := r.seen(); asked != want {
			t.Errorf("status %d: asked %d times, want %d", status, asked, want)
		}
		if text := log.String(); !strings.Contains(text, "did not take an event") || strings.Contains(text, "hunter2") {
			t.Errorf("the log says %q", text)
		}
	}
}

func TestNothingIsHeldUpAndTheOldestGo(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	s, err := New(Options{URL: "https://127.0.0.1:1/hunter2", Registerer: registry, Pause: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for i := range mostWaiting + 7 { // nobody sends
		s.Send(event{i})
	}
	if n := count(t, registry, "dropped"); n != 7 {
		t.Errorf("%v are dropped, want 7", n)
	}
	if body := s.next(); string(body) != `{"n":7}` {
		t.Errorf("the first that is left is %s", body)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	cancel()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("Run does not end")
	}
	_, err = s.post(t.Context(), []byte("{}"))
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error is %v", err)
	}
	if _, err := New(Options{URL: "hunter2"}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("of a bad URL: %v", err)
	}
}
