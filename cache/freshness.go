package cache

import (
	"bytes"
	"time"

	"gatehouse/internal/octets"
)

// dateOf is the response's Date. Without a valid one it is the time of receipt
// (RFC 9110 §6.6.1).
func dateOf(resp *Response) time.Time {
	if lines := resp.Header.PeekAll("Date"); len(lines) > 0 {
		if t, ok := parseDate(lines[0], resp.Received); ok {
			return t
		}
	}
	return resp.Received
}

// statedLifetime is the freshness lifetime that the response states (RFC 9111
// §4.2.1): s-maxage, else max-age, else Expires minus Date. What is stated but
// invalid is 0. stated is false if it says nothing at all.
func statedLifetime(resp *Response, c *control, targeted bool, date time.Time) (d time.Duration, stated bool) {
	switch {
	case c.sMaxAge.set:
		return time.Duration(c.sMaxAge.n) * time.Second, true
	case c.maxAge.set:
		return time.Duration(c.maxAge.n) * time.Second, true
	case targeted: // it stands in the place of Expires, too (RFC 9213 §2.1)
		return 0, false
	}
	lines := resp.Header.PeekAll("Expires")
	for i, line := range lines {
		// RFC 9111 §5.3: an invalid date, "0" above all, is in the past.
		t, ok := parseDate(line, resp.Received)
		if !ok {
			return 0, true
		}
		if e := max(t.Sub(date), 0); i == 0 || e < d {
			d = e
		}
	}
	// The cap of delta-seconds serves here as well; it also keeps sums of
	// durations from overflowing.
	return min(d, maxSeconds*time.Second), len(lines) > 0
}

// defaultLifetime is the vhost's freshness for a response that states none. It
// is a setting of the vhost's owner, not a heuristic (RFC 9111 §4.2.2), so it
// is kept to statuses that are heuristically cacheable and commonly static.
func defaultLifetime(status int, p *Policy) time.Duration {
	switch status {
	case 200, 301, 404, 410:
		return max(p.TTL, 0)
	}
	return 0
}

// heuristicLifetime is a guess by Last-Modified (RFC 9111 §4.2.2), for statuses that are heuristically cacheable
// (RFC 9110 §15.1) or responses that say public.
func heuristicLifetime(resp *Response, c *control, date time.Time) time.Duration {
	switch resp.Status {
	case 200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501:
	default:
		if !c.public {
			return 0
		}
	}
	lines := resp.Header.PeekAll("Last-Modified")
	if len(lines) != 1 {
		return 0
	}
	modified, ok := parseDate(lines[0], resp.Received)
	if !ok {
		return 0
	}
	return min(max(date.Sub(modified), 0)/10, maxHeuristic)
}

// maxHeuristic bounds what is only guessed.
const maxHeuristic = 24 * time.Hour

// initialAge is RFC 9111 §4.2.3's corrected_initial_age.
func initialAge(resp *Response, date time.Time) time.Duration {
	delay := time.Duration(0)
	if !resp.RequestTime.IsZero() {
		delay = max(resp.Received.Sub(resp.RequestTime), 0)
	}
	apparent := max(resp.Received.Sub(date), 0)
	return max(apparent, ageValue(resp.Header.PeekAll("Age"))+delay)
}

// ageValue reads Age (RFC 9111 §5.1): the first member of the first line, and
// nothing if that is not a whole number of seconds.
func ageValue(lines [][]byte) time.Duration {
	if len(lines) == 0 {
		return 0
	}
	first, _, _ := bytes.Cut(lines[0], []byte{','})
	n, ok := parseSeconds(octets.TrimOWS(first))
	if !ok {
		return 0
	}
	return time.Duration(n) * time.Second
}
