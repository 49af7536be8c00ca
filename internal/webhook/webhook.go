// Package webhook tells another program of events: it POSTs each as JSON, behind whoever has it to tell, and gives up rather than hold
// anything up. Start with New; Run sends what Send has taken.
package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// mostWaiting is how many events wait to be sent; the oldest goes first.
	mostWaiting = 100
	// sendTime bounds one try, and tries is how many an event gets.
	sendTime = 5 * time.Second
	tries    = 3
	// mostAnswer is how much of an answer is read, so that the connection can be used again.
	mostAnswer = 64 << 10
)

// Options say where events go.
type Options struct {
	// URL gets them. What stands in it may be a secret, and is in no log.
	URL string
	// Transport sends. Nil: http.DefaultTransport.
	Transport http.RoundTripper
	// Agent is the User-Agent.
	Agent string
	// Pause is that before the second try; before the third it is five times as long. 0: a second.
	Pause time.Duration
	// Registerer gets gatehouse_webhook_events_total. Nil registers nothing.
	Registerer prometheus.Registerer
	// Logger receives what did not arrive. Nil discards it.
	Logger *slog.Logger
}

// A Sender sends events. It is safe for concurrent use.
type Sender struct {
	opts   Options
	host   string
	client *http.Client
	events *prometheus.CounterVec
	wake   chan struct{}

	mu      sync.Mutex
	waiting [][]byte
}

// New returns a sender that has nothing to send yet.
func New(o Options) (*Sender, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" {
		return nil, errors.New("webhook: bad URL") // without it
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Pause == 0 {
		o.Pause = time.Second
	}
	s := &Sender{
		opts: o, host: u.Host, wake: make(chan struct{}, 1),
		client: &http.Client{
			Transport: o.Transport, Timeout: sendTime,
			// What is sent is for the one that the settings name, and for nobody that it names.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_webhook_events_total",
			Help: "Events for the webhook by result: sent, failed (after three tries) or dropped (too many were waiting).",
		}, []string{"result"}),
	}
	for _, result := range []string{"sent", "failed", "dropped"} {
		s.events.WithLabelValues(result)
	}
	if o.Registerer != nil {
		if err := o.Registerer.Register(s.events); err != nil {
			return nil, fmt.Errorf("webhook: register metrics: %w", err)
		}
	}
	return s, nil
}

// Send has an event sent some time. It never waits.
func (s *Sender) Send(event any) {
	body, err := json.Marshal(event)
	if err != nil {
		s.opts.Logger.Error("event for the webhook cannot be written", "err", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) >= mostWaiting {
		s.waiting = s.waiting[1:]
		s.events.WithLabelValues("dropped").Inc()
	}
	s.waiting = append(s.waiting, body)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run sends until ctx ends. It returns nil.
func (s *Sender) Run(ctx context.Context) error {
	defer s.client.CloseIdleConnections()
	for ctx.Err() == nil {
		if body := s.next(); body != nil {
			s.deliver(ctx, body)
			continue
		}
		select {
		case <-ctx.Done():
		case <-s.wake:
		}
	}
	return nil
}

func (s *Sender) next() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		return nil
	}
	body := s.waiting[0]
	s.waiting = s.waiting[1:]
	return body
}

// deliver tries to send an event.
func (s *Sender) deliver(ctx context.Context, body []byte) {
	var err error
	for n := range tries {
		if n > 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(s.opts.Pause * []time.Duration{0, 1, 5}[n]):
			}
		}
		var again bool
		if again, err = s.post(ctx, body); err == nil {
			s.events.WithLabelValues("sent").Inc()
			return
		}
		if ctx.Err() != nil {
			return // the stop made it fail
		}
		if !again {
			break
		}
	}
	s.events.WithLabelValues("failed").Inc()
	s.opts.Logger.Warn("the webhook did not take an event", "host", s.host, "err", err, "event", string(body))
}

// post is one try; again reports whether another one may help.
func (s *Sender) post(ctx context.Context, body []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.opts.URL, bytes.NewReader(body))
	if err != nil {
		return false, errors.New("bad URL")
	}
	req.Header.Set("Content-Type", "application/json")
	if s.opts.Agent != "" {
		req.Header.Set("User-Agent", s.opts.Agent)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // which leaves the URL out
		}
		return true, err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, mostAnswer)
	if resp.StatusCode/100 == 2 {
		return false, nil
	}
	busy := resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusRequestTimeout
	return busy || resp.StatusCode >= 500, fmt.Errorf("it answers %s", resp.Status)
}
