package loadtest

// A shaker opens connections and closes them: the client of a load of handshakes.
type shaker struct{}

func (shaker) do(l *lane, x *sample, q *question) {
	if l.r.primes() {
		_ = l.primed(q.origin) // what fails here fails below, too
	}
	c, failed, _ := l.open(q.origin, x.begun)
	if failed != noError {
		x.failed = failed
		return
	}
	// The client's last message of the handshake is held back still.
	if err := c.line.flush(); err != nil {
		x.failed = l.failure(c.line, err, errReset)
	}
	if c.line.end() {
		x.failed = errTimeout
	}
	if x.failed == noError {
		l.counted(c, x.begun)
	}
	_ = c.Close() // it has done its duty
}

func (shaker) close() {}
