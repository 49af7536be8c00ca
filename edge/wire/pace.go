package wire

import "time"

// A pace judges whether a peer takes what is written to it. Time in which a
// write waited is a debt, and what the peer took pays it off at the least rate
// that is asked for; a peer that owes a whole Limits.Stall is stalled. So one that
// stops is found after that much waiting, one that takes a tenth of the rate
// a little later, and one that takes more than the rate never, be it in lumps:
// lumps that lie less than that apart and make up for the wait. Nothing is
// paid in advance, or a fast start would buy a long stall.
//
// It is not safe for concurrent use.
type pace struct {
	rate  int64         // bytes per second; not positive: any will do, but for none
	stall time.Duration // the debt that is too much

	waited  time.Duration // since the last sample
	debt    time.Duration // at the last sample, from 0 to stall
	written uint64        // bytes that writes took, in all
	// Totals at the last sample.
	writtenThen, ackedThen uint64
}

// samplesPerStall is how often in a Limits.Stall of waiting the kernel is asked. The
// peer that stops right after a sample is found a sample later.
const samplesPerStall = 8

func (p *pace) tick() time.Duration { return p.stall / samplesPerStall }

// left is how long a write may wait before the peer can be stalled, and at most
// a tick: by then a sample is due. It is long enough for a write to be tried.
func (p *pace) left() time.Duration {
	return min(p.tick(), max(p.stall-p.debt-p.waited, p.tick()/8))
}

// wrote takes down that a write took n bytes and waited for d. It reports whether
// the peer is stalled. acked tells the bytes that the peer has acknowledged so
// far, 0 if nobody knows; it is called now and then only.
func (p *pace) wrote(n int, d time.Duration, acked func() uint64) (stalled bool) {
	p.written += uint64(n)
	p.waited += d
	if p.waited < p.tick()/2 && p.debt+p.waited < p.stall {
		return false
	}
	now := acked()
	// Acknowledged bytes are the truth: a write that waits until the kernel has
	// room for a good piece shows nothing of a slow reader's progress. Where the
	// system does not tell them, what writes took has to do.
	took := p.written - p.writtenThen
	if now > p.ackedThen {
		took = max(took, now-p.ackedThen)
	}
	paid := 2 * p.stall // without a rate every byte will do
	switch {
	case took == 0:
		paid = 0
	case p.rate > 0:
		paid = time.Duration(min(float64(took)/float64(p.rate)*float64(time.Second), float64(paid)))
	}
	p.debt = max(p.debt+p.waited-paid, 0)
	p.waited, p.writtenThen, p.ackedThen = 0, p.written, now
	return p.debt >= p.stall
}
