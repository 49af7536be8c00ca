package acme

import (
	"math/rand/v2"
	"time"
)

// renewal is when a certificate is to be replaced: at the time chosen within the issuer's window, else some while after renewAt, so that those
// that were issued together are not renewed together; never later than a sixth of its life before its end.
func renewal(l *leaf, ari time.Time) time.Time {
	emergency := l.lastCall()
	if !ari.IsZero() {
		return earlier(ari, emergency)
	}
	// The same at each look, and on each node: another one each time would make the earliest of them all count.
	share := float64(l.digest[0])/256 + float64(l.digest[1])/65536
	return earlier(l.renewAt().Add(time.Duration(share*0.02*float64(l.life()))), emergency)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// within chooses a time in a window at random (RFC 9773 section 4.2).
func within(start, end time.Time) time.Time {
	if !end.After(start) {
		return start
	}
	return start.Add(time.Duration(rand.Int64N(int64(end.Sub(start)))))
}

// lastCall is when a sixth of the certificate's life is left.
func (l *leaf) lastCall() time.Time { return l.notAfter.Add(-l.life() / 6) }

// life is how long the certificate is valid.
func (l *leaf) life() time.Duration { return l.notAfter.Sub(l.notBefore) }

// rank orders certificates of one name, see rankOf.
func (l *leaf) rank() uint64 { return rankOf(l.generation, l.notAfter) }
