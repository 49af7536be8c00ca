package edge

import (
	"bufio"
	"encoding/json"
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

	mu   sync.Mutex
	out  io.Writer
	w    *bufio.Writer // in front of out
	line []byte
	lost int64 // lines, since writing began to fail
	held int64 // lines in w

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
	a := &AccessLog{log: log, out: w, w: bufio.NewWriterSize(w, 64<<10), stop: make(chan struct{}), done: make(chan struct{})}
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
			a.flush()
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
	if len(a.line) > a.w.Available() {
		a.flush()
	}
	a.held++
	_, _ = a.w.Write(a.line) // an error stays in the writer and shows at the next flush
}

// flush writes what is held back, with mu held. Lines that cannot be written are
// lost, and that is said once; a later success says how many.
func (a *AccessLog) flush() {
	held := a.held
	a.held = 0
	if err := a.w.Flush(); err != nil {
		a.w.Reset(a.out) // a bufio.Writer keeps its first error for ever
		if a.lost == 0 {
			a.log.Error("access log cannot be written, lines are lost", "err", err)
		}
		a.lost += max(held, 1)
		return
	}
	if a.lost > 0 && held > 0 {
		a.log.Warn("access log is being written again", "lost", a.lost)
		a.lost = 0
	}
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
