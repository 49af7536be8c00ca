package logpipe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// ErrFull is what Write returns for a line that found no room, ErrClosed for one
// that came after Close. The line is lost, and counted.
var (
	ErrFull   = errors.New("the writer does not keep up and the buffer is full")
	ErrClosed = errors.New("the log is closed")
)

// Options configure a Pipe. The zero value is usable.
type Options struct {
	// Size is how many bytes of lines wait for the writer, those that it is
	// writing not counted; default 1 MiB.
	Size int
	// Hold is how long a line may wait for others, to leave in one write with
	// them; they leave earlier once there are 64 KiB. 0: every line leaves at once.
	Hold time.Duration
	// Failed is called when lines begin to be lost, with the reason: ErrFull (in
	// the goroutine of a Write) or the writer's error. Nil: nobody is told.
	Failed func(error)
	// Resumed is called after the first write that succeeds again, with how many
	// lines were lost since Failed. It may write to the Pipe. Nil: nobody is told.
	Resumed func(lost int64)
}

// A Pipe passes lines on to a writer without ever waiting for it. It is safe for
// concurrent use.
type Pipe struct {
	out  io.Writer
	opts Options
	lost atomic.Int64 // lines, ever

	mu      sync.Mutex
	held    []byte // whole lines that nobody writes yet
	failing bool   // lines are being lost
	since   int64  // lost had this value when that began
	closed  bool

	wake  chan struct{} // a line is held where there was none
	urged chan struct{} // much is held
	stop  chan struct{}
	done  chan struct{}

	spare []byte // the writing goroutine's
	torn  bool   // the last write ended within a line
}

const (
	defaultSize = 1 << 20
	urge        = 64 << 10  // bytes held that end a Hold
	keep        = 256 << 10 // a buffer that has grown beyond this is not kept
)

// New starts a pipe to out, which Close does not close. out must take each Write
// whole or say how much it took, as io.Writer demands.
func New(out io.Writer, opts Options) *Pipe {
	if opts.Size <= 0 {
		opts.Size = defaultSize
	}
	p := &Pipe{
		out: out, opts: opts,
		wake: make(chan struct{}, 1), urged: make(chan struct{}, 1),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	go p.run()
	return p
}

// Write takes whole lines, each with its line break, and copies them. It never
// waits for the writer; an error says that all of them are lost.
func (p *Pipe) Write(lines []byte) (int, error) {
	p.mu.Lock()
	begin := len(p.held) == 0
	var err error
	switch {
	case p.closed:
		err = ErrClosed
	case len(p.held)+len(lines) > p.opts.Size:
		err = ErrFull
	}
	if err != nil {
		first := p.lose(count(lines))
		p.mu.Unlock()
		if first && p.opts.Failed != nil {
			p.opts.Failed(err)
		}
		return 0, err
	}
	before := len(p.held)
	p.held = append(p.held, lines...)
	much := before < urge && len(p.held) >= urge
	p.mu.Unlock()
	if begin {
		signal(p.wake)
	}
	if much {
		signal(p.urged)
	}
	return len(lines), nil
}

// Lost is how many lines were lost since New.
func (p *Pipe) Lost() int64 { return p.lost.Load() }

// closeTime is how long Close waits for a writer that does not take what is held.
const closeTime = 2 * time.Second

// Close writes what is held and ends the pipe. It waits at most two seconds for a
// stuck writer: then what is left is lost, the error says so, and the goroutine
// ends when the write does. Lines that come later are lost. Calling it twice is fine.
func (p *Pipe) Close() error {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.stop)
	}
	p.mu.Unlock()
	patience := time.NewTimer(closeTime)
	defer patience.Stop()
	select {
	case <-p.done:
		return nil
	case <-patience.C:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lose(count(p.held))
	p.held = nil
	return fmt.Errorf("the writer is stuck: %w", ErrFull)
}

// run is the writing goroutine.
func (p *Pipe) run() {
	defer close(p.done)
	for {
		select {
		case <-p.wake:
			p.hold()
			p.flush()
		case <-p.stop:
			p.flush()
			return
		}
	}
}

// hold waits for more lines.
func (p *Pipe) hold() {
	if p.opts.Hold <= 0 {
		return
	}
	timer := time.NewTimer(p.opts.Hold)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.urged:
	case <-p.stop:
	}
}

// flush writes what is held now; a line that comes meanwhile wakes again.
func (p *Pipe) flush() {
	p.mu.Lock()
	batch := p.held
	p.held, p.spare = p.spare[:0], nil
	p.mu.Unlock()
	if len(batch) == 0 {
		p.spare = batch
		return
	}
	lost, err := p.write(batch)
	p.settle(lost, err)
	if cap(batch) <= keep {
		p.spare = batch[:0]
	}
}

// write hands a batch to the writer and tells how many of its lines were not
// taken whole. What a failed write has left of a line is ended before the next.
func (p *Pipe) write(batch []byte) (lost int64, err error) {
	if p.torn {
		if _, err := p.out.Write([]byte{'\n'}); err != nil {
			return count(batch), err
		}
		p.torn = false
	}
	n, err := p.out.Write(batch)
	if err == nil {
		return 0, nil
	}
	n = max(0, min(n, len(batch)))
	p.torn = n > 0 && batch[n-1] != '\n'
	return count(batch) - count(batch[:n]), err
}

// settle keeps book of a write and tells of a change.
func (p *Pipe) settle(lost int64, err error) {
	p.mu.Lock()
	if err != nil {
		first := p.lose(max(lost, 1))
		p.mu.Unlock()
		if first && p.opts.Failed != nil {
			p.opts.Failed(err)
		}
		return
	}
	resumed := p.failing
	p.failing = false
	total := p.lost.Load() - p.since
	p.mu.Unlock()
	if resumed && p.opts.Resumed != nil {
		p.opts.Resumed(total)
	}
}

// lose counts lines with mu held, and reports whether they are the first since
// all was well.
func (p *Pipe) lose(lines int64) (first bool) {
	if lines == 0 {
		return false
	}
	first = !p.failing
	if first {
		p.failing, p.since = true, p.lost.Load()
	}
	p.lost.Add(lines)
	return first
}

func count(lines []byte) int64 { return int64(bytes.Count(lines, []byte{'\n'})) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is set already
	}
}
