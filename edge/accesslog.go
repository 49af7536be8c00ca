package edge

import (
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/internal/logpipe"
	"gatehouse/internal/octets"
)

// An AccessLog writes one line per request. Lines wait for at most a moment, so
// that many of them leave in one write. No request ever waits for the writer: if
// it stalls or fails, lines are lost and counted. It is safe for concurrent use.
// A nil AccessLog writes nothing.
type AccessLog struct {
	format func(dst []byte, r *request, took time.Duration) []byte
	pipe   *logpipe.Pipe
}

// The formats of an access log.
const (
	FormatCombined = "combined" // as Apache and nginx write it; to find the rest, the request id stands at the end
	FormatJSON     = "json"     // one object per line
)

const (
	lineHold  = 200 * time.Millisecond // how long a line waits for others
	linesHeld = 4 << 20                // bytes of lines that wait for a writer that does not keep up
)

// NewAccessLog starts a log that writes to w, which Close does not close. A nil
// logger discards what it would say about failing writes, once when lines begin to
// be lost and once, with their number, when they are written again.
func NewAccessLog(w io.Writer, format string, log *slog.Logger) (*AccessLog, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	a := &AccessLog{}
	switch format {
	case FormatCombined:
		a.format = appendCombined
	case FormatJSON:
		a.format = appendJSON
	default:
		return nil, fmt.Errorf("access log format %q: want %s or %s", format, FormatCombined, FormatJSON)
	}
	a.pipe = logpipe.New(w, logpipe.Options{
		Size: linesHeld, Hold: lineHold,
		Failed:  func(err error) { log.Error("access log cannot be written, lines are lost", "err", err) },
		Resumed: func(lost int64) { log.Warn("access log is being written again", "lost", lost) },
	})
	return a, nil
}

// Close writes what is held back and ends the log. It waits two seconds at most
// for a writer that takes nothing; the error says that lines were lost so.
func (a *AccessLog) Close() error {
	if err := a.pipe.Close(); err != nil {
		return fmt.Errorf("close the access log: %w", err)
	}
	return nil
}

// Lost is how many lines were lost since the log was started; 0 for a nil log.
func (a *AccessLog) Lost() int64 {
	if a == nil {
		return 0
	}
	return a.pipe.Lost()
}

// accessLines hold a line while it is put together.
var accessLines = sync.Pool{New: func() any { b := make([]byte, 0, 1<<10); return &b }}

func (a *AccessLog) write(r *request, took time.Duration) {
	if a == nil {
		return
	}
	line := accessLines.Get().(*[]byte)
	*line = a.format((*line)[:0], r, took)
	_, _ = a.pipe.Write(*line) // a lost line is counted there, and said once
	accessLines.Put(line)
}

// appendCombined writes Apache's combined format and the request's id.
func appendCombined(dst []byte, r *request, _ time.Duration) []byte {
	dst = append(dst, r.ClientText...)
	dst = append(dst, " - - ["...)
	dst = appendSecond(dst, r.Start)
	dst = append(dst, `] "`...)
	dst = appendRequestLine(dst, r)
	dst = append(dst, `" `...)
	dst = strconv.AppendInt(dst, int64(r.response.status), 10)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, r.response.sent, 10)
	dst = append(dst, ` "`...)
	dst = appendQuoted(dst, orDash(octets.Text(r.text("referer"))))
	dst = append(dst, `" "`...)
	dst = appendQuoted(dst, orDash(octets.Text(r.text("user-agent"))))
	dst = append(dst, `" `...)
	dst = append(dst, r.ID...)
	return append(dst, '\n')
}

// A second is a point in time as the combined format has it.
type second struct {
	unix int64
	text string
}

// lastSecond is the one that was written last: most lines have the same as the line
// before, and a calendar costs more than the rest of a line.
var lastSecond atomic.Pointer[second]

func appendSecond(dst []byte, t time.Time) []byte {
	last, now := lastSecond.Load(), t.Unix()
	if last == nil || last.unix != now {
		last = &second{now, t.Format("02/Jan/2006:15:04:05 -0700")}
		lastSecond.Store(last)
	}
	return append(dst, last.text...)
}

// appendRequestLine writes what was read of the request line: of a refused request
// that is not always all, and "-" if it has no method.
func appendRequestLine(dst []byte, r *request) []byte {
	dst = appendQuoted(dst, orDash(r.Method))
	for _, part := range [...]string{r.Target, r.Proto} {
		if part != "" {
			dst = appendQuoted(append(dst, ' '), part)
		}
	}
	return dst
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// appendQuoted keeps a client from breaking out of a quoted part or of the line.
func appendQuoted(dst []byte, s string) []byte {
	if plain(s) {
		return append(dst, s...)
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			dst = fmt.Appendf(dst, `\x%02x`, c)
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

// plain reports whether s can be quoted as it is.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
