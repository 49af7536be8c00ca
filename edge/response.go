package edge

import (
	"io"
	"net"
	"strconv"
	"time"

	"gatehouse/edge/upstream"
	"gatehouse/internal/octets"
)

// A response is what the chain answers, before it is written: links may look at
// it and add to it. The body is either in memory or a stream.
type response struct {
	status   int
	fields   []upstream.Field // in the order in which they are sent
	length   int64            // of the body; -1: unknown
	body     []byte           // used if stream is nil; never written to
	stream   io.ReadCloser
	template *storedHead // of a stored response: the fields that it had then
	upgraded net.Conn    // the backend's connection after 101
	close    bool        // the client's connection ends after this response
	received time.Time   // when the backend's head came
	asked    time.Time   // when the backend was asked
	sent     int64       // body bytes written so far
	cut      bool        // not all of the stream went out: record.Err says why
}

// set adds a field.
func (p *response) set(name, value string) {
	p.fields = append(p.fields, upstream.Field{Name: octets.View(name), Value: octets.View(value)})
}

// without removes all fields of that name; lower is in lower case.
func (p *response) without(lower string) {
	kept := p.fields[:0]
	for _, f := range p.fields {
		if !field(f).Is(lower) {
			kept = append(kept, f)
		}
	}
	p.fields = kept
}

// value returns the first value of a field, or "".
func (p *response) value(lower string) string {
	for _, f := range p.fields {
		if field(f).Is(lower) {
			return string(f.Value)
		}
	}
	return ""
}

// has reports whether there is a field of that name; lower is in lower case.
func (p *response) has(lower string) bool {
	for _, f := range p.fields {
		if field(f).Is(lower) {
			return true
		}
	}
	return false
}

// discard lets go of a response that will not be sent.
func (p *response) discard() {
	if p.stream != nil {
		// Nobody reads the body any more, so its error has no meaning.
		_ = p.stream.Close()
		p.stream = nil
	}
	if p.upgraded != nil {
		_ = p.upgraded.Close()
		p.upgraded = nil
	}
}

// dateLayout is IMF-fixdate (RFC 9110 §5.6.7).
const dateLayout = "Mon, 02 Jan 2006 15:04:05 GMT"

// complete adds what every response of ours carries.
func (r *request) complete() {
	p := &r.response
	p.without("x-request-id")
	if p.template == nil && !p.has("date") && p.status != 101 {
		p.set("Date", time.Now().UTC().Format(dateLayout)) // RFC 9110 §6.6.1
	}
	p.set("X-Request-Id", r.ID)
	if r.setsHSTS() {
		p.without("strict-transport-security")
		p.set("Strict-Transport-Security", "max-age="+strconv.FormatInt(int64(r.site.hsts/time.Second), 10)+r.site.hstsMore)
	}
}

// setsHSTS reports whether the vhost's own Strict-Transport-Security goes out: over TLS
// only (RFC 6797 §7.2).
func (r *request) setsHSTS() bool { return r.site != nil && r.site.hsts > 0 && r.TLS != nil }
