package edge

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"
)

// An AccessLog writes one line per request. Lines are held back for at most a
// moment, so that many of them leave in one write; Close writes the rest.
// It is safe for concurrent use. A nil AccessLog writes nothing.
type AccessLog struct {
	format func(dst []byte, r *request, took time.Duration) []byte
	log    *slog.Logger

	mu     sync.Mutex
	w      *bufio.Writer
	line   []byte
	failed bool

	stop chan struct{}
	done chan struct{}
}

// The formats of an access log.
const (
	FormatCombined = "combined" // as Apache and nginx write it; to find the rest, the request id stands at the end
	FormatJSON     = "json"     // one object per line
)

const flushInterval = 200 * time.Millisecond

// NewAccessLog starts a log that writes to w, which Close does not close. A nil
// logger discards what it would say about failing writes.
func NewAccessLog(w io.Writer, format string, log *slog.Logger) (*AccessLog, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	a := &AccessLog{log: log, w: bufio.NewWriterSize(w, 64<<10), stop: make(chan struct{}), done: make(chan struct{})}
	switch format {
	case FormatCombined:
		a.format = appendCombined
	case FormatJSON:
		a.format = appendJSON
	default:
		return nil, fmt.Errorf("access log format %q: want %s or %s", format, FormatCombined, FormatJSON)
	}
	go a.flushNowAndThen()
	return a, nil
}

// Close writes what is held back and ends the log.
func (a *AccessLog) Close() error {
	close(a.stop)
	<-a.done
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.w.Flush()
}

func (a *AccessLog) flushNowAndThen() {
	defer close(a.done)
	tick := time.NewTicker(flushInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			a.mu.Lock()
			a.report(a.w.Flush())
			a.mu.Unlock()
		case <-a.stop:
			return
		}
	}
}

func (a *AccessLog) write(r *request, took time.Duration) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.line = a.format(a.line[:0], r, took)
	_, err := a.w.Write(a.line)
	a.report(err)
}

// report says once that lines are being lost, with mu held. A bufio.Writer keeps
// its first error, so it is reset to try again.
func (a *AccessLog) report(err error) {
	if err == nil {
		return
	}
	if !a.failed && !errors.Is(err, io.ErrShortWrite) {
		a.log.Error("access log cannot be written, lines are lost", "err", err)
	}
	a.failed = true
}

// appendCombined writes Apache's combined format and the request's id.
func appendCombined(dst []byte, r *request, _ time.Duration) []byte {
	dst = append(dst, r.Client.Addr().String()...)
	dst = append(dst, " - - ["...)
	dst = r.Start.AppendFormat(dst, "02/Jan/2006:15:04:05 -0700")
	dst = append(dst, `] "`...)
	dst = appendQuoted(dst, r.Method)
	dst = append(dst, ' ')
	dst = appendQuoted(dst, r.Target)
	dst = append(dst, ' ')
	dst = appendQuoted(dst, r.Proto)
	dst = append(dst, `" `...)
	dst = strconv.AppendInt(dst, int64(r.response.status), 10)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, r.response.sent, 10)
	dst = append(dst, ` "`...)
	dst = appendQuoted(dst, orDash(r.value("referer")))
	dst = append(dst, `" "`...)
	dst = appendQuoted(dst, orDash(r.value("user-agent")))
	dst = append(dst, `" `...)
	dst = append(dst, r.ID...)
	return append(dst, '\n')
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// appendQuoted keeps a client from breaking out of a quoted part or of the line.
func appendQuoted(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			dst = fmt.Appendf(dst, `\x%02x`, c)
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

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
}

func appendJSON(dst []byte, r *request, took time.Duration) []byte {
	host := r.Host
	if host == "" {
		host = r.RawHost
	}
	rules := r.record.WAF.Rules
	if rules == nil {
		rules = []int{}
	}
	line, err := json.Marshal(accessRecord{
		Time: r.Start.UTC().Format("2006-01-02T15:04:05.000Z07:00"), ID: r.ID,
		Client: r.Client.Addr().String(), Host: host, Method: r.Method, Target: r.Target, Proto: r.Proto,
		Status: r.response.status, Bytes: r.response.sent,
		DurationMS: float64(took.Microseconds()) / 1000,
		Tenant:     r.record.Tenant, Vhost: r.record.Route,
		WAF: r.record.WAF.Verdict, Rules: rules, Cache: r.record.Cache, Backend: r.record.Backend,
	})
	if err != nil { // strings and numbers: cannot happen
		return append(append(append(dst, `{"error":`...), strconv.Quote(err.Error())...), "}\n"...)
	}
	return append(append(dst, line...), '\n')
}
