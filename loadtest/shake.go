package loadtest

import "fmt"

// A shaker opens connections and closes them: the client of a load of handshakes.
type shaker struct{}

func (shaker) do(l *lane, x *sample, q *question) {
	if l.r.primes() {
		_ = l.primed(q.origin) // what fails here fails below, too
	}
	c, failed, err := l.open(q.origin, x.begun)
	if failed != noError {
		x.fail(failed, err)
		return
	}
	// The client's last message of the handshake is held back still.
	err = c.line.flush()
	if err != nil {
		x.fail(l.failure(c.line, err, errReset), l.handshakeCause(c.line, q.origin, err))
	}
	if c.line.end() {
		x.fail(errTimeout, fmt.Errorf("no handshake with %s within %v", q.origin.name, l.r.plan.Timeout))
	}
	if x.failed == noError {
		l.counted(c, x.begun)
	}
	_ = c.Close() // it has done its duty
}

func (shaker) close() {}
