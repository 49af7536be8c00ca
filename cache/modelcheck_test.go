package cache

import (
	"bytes"
	"io"
	"testing/synctest"
	"time"
)

// What the model looks at after each step, and at the end.

func (m *model) check() {
	synctest.Wait()
	m.collect()
	filling := m.s.filling.Load()
	if m.short {
		filling -= shortage
	}
	for _, f := range m.fills {
		filling -= m.checkFill(f)
	}
	if filling != 0 {
		m.Fatalf("%d bytes are counted as on their way that are not", filling)
	}
	m.checkFlights()
	for _, r := range m.readers {
		m.checkReader(r)
	}
}

// collect takes what reads have got.
func (m *model) collect() {
	for _, r := range m.readers {
		if r.result == nil {
			continue
		}
		select {
		case result := <-r.result:
			r.result = nil
			m.took(r, result)
		default:
		}
	}
}

func (m *model) took(r *modelReader, result modelRead) {
	r.got = append(r.got, result.data...)
	p := r.of.resp
	switch {
	case !bytes.HasPrefix(p.body, r.got):
		m.Fatalf("a reader has %d bytes that are not its response's", len(r.got))
	case result.err == io.EOF && (!p.whole || len(r.got) != len(p.body)):
		m.Fatalf("a reader has seen the end after %d bytes of %d; the response is whole: %v", len(r.got), len(p.body), p.whole)
	case r.over && len(result.data) > 0:
		m.Fatal("bytes behind the end")
	case result.err == errPanicked || result.err == errAbandoned && !r.left && !r.closed:
		m.Fatalf("one who reads got: %v", result.err)
	case result.err == ErrSlow && (!r.slow || !r.of.over || r.of.held.time() < maxHeld):
		m.Fatal("a reader is cut that held nobody for long")
	case result.late && result.err != errLeft && result.err != ErrSlow:
		m.Fatalf("one who has left got %d bytes, %v", len(result.data), result.err)
	}
	r.over = r.over || result.err != nil
}

// checkFill returns what the fill has reserved.
func (m *model) checkFill(f *modelFill) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.src.mu.Lock()
	defer f.src.mu.Unlock()
	for _, fault := range f.src.faults {
		m.Fatal("source: " + fault)
	}
	if f.storedAt == 0 && f.err == io.EOF && f.outcome == nil {
		f.storedAt = m.step
	}
	expected := 0
	for _, c := range m.waiting {
		if f.flight != nil && c.flight == f.flight {
			expected++
		}
	}
	switch {
	case f.err == nil && f.expected != expected:
		m.Fatalf("%d readers are expected, %d are to come", f.expected, expected)
	case f.large != (f.size > modelMaxBody) || f.large && !f.over || f.over && !f.large && !m.wasShort:
		m.Fatalf("of %d bytes: too large %v, given up %v", f.size, f.large, f.over)
	case f.reserved != f.holds():
		m.Fatalf("%d bytes are held, %d reserved", f.holds(), f.reserved)
	case f.err != nil && f.src.closed != 1:
		m.Fatal("the fill has ended, its source has not")
	case f.err == nil && f.src.closed != 0 && !f.src.closing:
		m.Fatal("the source has ended, the fill has not")
	case f.err != nil && f.reserved != 0 && f.expected == 0 && f.slowest() == f.size:
		m.Fatal("memory is reserved for what nobody will read")
	case f.err == io.EOF && !f.resp.whole:
		m.Fatal("a body that is not whole has ended so")
	case f.storedAt > 0 && (f.size > modelMaxBody || f.resp.asked < m.invalidated[f.resp.key] && f.storedAt >= m.invalidated[f.resp.key]):
		m.Fatal("stored although it is too large, or was invalidated")
	case f.err == nil && len(f.readers) == 0 && f.expected == 0 && !f.half() && !f.alone && !f.src.wasCut && !f.src.closing && f.gatherer() == 0:
		m.Fatal("nobody wants the body, and it goes on")
	case f.over && f.size-f.slowest() > firstPiece+modelStep, f.over && f.expected > 0 && f.size > firstPiece+modelStep:
		m.Fatalf("a body that is not stored is read %d bytes ahead", f.size-f.slowest())
	case !f.over || f.wanted():
		f.unwanted = 0
	case f.unwanted == 0:
		f.unwanted = f.src.reads
	case f.src.reads > f.unwanted+1:
		m.Fatal("a body that is too large is read for nobody")
	}
	return f.reserved
}

// gatherer is how many calls of Gather run.
func (f *modelFill) gatherer() (n int) {
	for _, done := range f.tasks {
		select {
		case <-done:
		default:
			n++
		}
	}
	return n
}

// checkFlights looks for flights that nobody is going to end.
func (m *model) checkFlights() {
	waiting, led := map[*Flight]int{}, map[*Flight]bool{}
	for _, c := range m.waiting {
		waiting[c.flight]++
	}
	for _, c := range m.alone {
		led[c.flight] = true
	}
	for i := range m.s.flights.shards {
		for _, f := range m.s.flights.shards[i].by {
			if f.Waiting() != waiting[f] {
				m.Fatalf("%d requests are counted as waiting, %d do", f.Waiting(), waiting[f])
			}
			if !f.done && !led[f] {
				m.Fatal("a flight without a leader is not decided")
			}
			if f.done && f.fill == nil {
				m.Fatal("a flight that was decided is still to be joined")
			}
			if f.done {
				if ended, _ := f.fill.Outcome(); ended {
					m.Fatal("a flight outlives its fill")
				}
			}
		}
	}
	for _, c := range m.waiting {
		select {
		case <-c.flight.Decided():
		default:
			if !led[c.flight] {
				m.Fatal("a request waits for one that nobody leads")
			}
		}
	}
}

// checkReader looks for one that waits although it need not.
func (m *model) checkReader(r *modelReader) {
	f := r.of
	f.mu.Lock()
	defer f.mu.Unlock()
	f.src.mu.Lock()
	defer f.src.mu.Unlock()
	behind := false // somebody slower is to read first
	for _, other := range f.readers {
		behind = behind || other != r.Reader && !other.left && other.at < r.at
	}
	if held := r.result != nil && !r.left && behind && f.over && f.err == nil && f.expected == 0 && !f.src.reading; !held {
		r.held = time.Time{}
	} else if r.held.IsZero() {
		r.held = time.Now()
	} else if time.Since(r.held) >= maxHeld {
		m.Fatalf("a reader is held by slower ones for %v", time.Since(r.held))
	}
	switch {
	case r.result == nil || f.src.closing:
	case f.src.reading && (!r.left || f.wanted() || f.half() || f.alone):
	case f.err == nil && f.over && !r.left && (behind || f.expected > 0):
	default:
		m.Fatalf("a reader waits at %d of %d bytes for nobody: %v, left %v, the source is read: %v", r.at, f.size, f.err, r.left, f.src.reading)
	}
}

// drain has everything come to its end, some of it because everybody leaves.
func (m *model) drain() {
	m.check()
	if m.short {
		m.memory(nil)
	}
	for _, c := range m.alone {
		if c.flight != nil {
			c.flight.Abandon()
		}
	}
	for _, c := range m.waiting {
		c.flight.Leave()
	}
	m.alone, m.waiting = nil, nil
	for i, r := range m.readers {
		if i%3 == 0 {
			r.Leave()
		}
	}
	m.check()
	for _, f := range m.fills { // what nobody wants ends without a word of its source, or goes on alone
		if !f.ended && len(f.src.steps) < 20 {
			m.say(f, max(f.length-len(f.resp.body), 0), io.EOF)
		}
	}
	time.Sleep(time.Second) // for those who gather
	for range 100 {
		busy := false
		for _, r := range m.readers {
			if r.result == nil && !r.closed && !r.over {
				busy = true
				r.begin(32 << 10)
			}
		}
		m.check()
		time.Sleep(2 * time.Millisecond) // for those who close
		if !busy {
			break
		}
	}
	for _, r := range m.readers {
		if r.result != nil {
			m.Fatal("a reader waits for ever")
		}
		r.Close()
	}
	time.Sleep(time.Second)
	for _, f := range m.fills {
		if f.gatherer() > 0 {
			m.Fatal("Gather waits for ever")
		}
		if ended, err := f.Outcome(); !ended || f.resp.whole && err != nil && Refused(err) == "" && err != errAbandoned && err != errCut {
			m.Fatalf("whole: %v; ended %v, %v", f.resp.whole, ended, err)
		}
		f.src.want(m)
	}
	wantNothingLeft(m, m.s)
	if m.Failed() {
		m.Fatal("something is left")
	}
}

// release has all goroutines end, also of a run that has failed.
func (m *model) release() {
	for _, f := range m.fills {
		f.src.mu.Lock()
		if !f.src.wasCut {
			f.src.wasCut = true
			close(f.src.cut)
		}
		f.src.mu.Unlock()
	}
	for _, r := range m.readers {
		r.Leave()
	}
	time.Sleep(time.Second)
}
