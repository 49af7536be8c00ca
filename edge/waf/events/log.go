package events

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/internal/logpipe"
)

// Options configure a Log. The zero value keeps events in memory alone.
type Options struct {
	// Node is the name of this process: ids of requests begin with it.
	Node string
	// Dir is the folder of the files; it is made when the first event is written.
	// Empty: there are no files.
	Dir string
	// MemoryBytes and MemoryEvents bound what is held in memory, of all tenants
	// together; default 16 MiB and 20,000.
	MemoryBytes  int64
	MemoryEvents int
	// MaxAge is how long events are kept; default 7 days. A file goes as a whole, once
	// its first event is so old, and is begun anew each day.
	MaxAge time.Duration
	// MaxBytes bounds all files together, default 1 GiB, and FileBytes one of them,
	// default 16 MiB. The oldest file goes first.
	MaxBytes, FileBytes int64
	// Share is how many bytes of the files one tenant may fill at once, and in each
	// further day: default a 64th of MaxBytes. Beyond that its events are held in
	// memory alone.
	Share int64
	// Logger is told when events begin to be lost, and of lines that cannot be
	// read. Nil discards.
	Logger *slog.Logger
	// Registerer: nil leaves the metrics unregistered.
	Registerer prometheus.Registerer
}

func (o Options) withDefaults() Options {
	def := func(p *int64, value int64) {
		if *p <= 0 {
			*p = value
		}
	}
	def(&o.MemoryBytes, 16<<20)
	if o.MemoryEvents <= 0 {
		o.MemoryEvents = 20_000
	}
	if o.MaxAge <= 0 {
		o.MaxAge = 7 * 24 * time.Hour
	}
	def(&o.MaxBytes, 1<<30)
	def(&o.FileBytes, min(16<<20, o.MaxBytes/4))
	def(&o.Share, o.MaxBytes/64)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

const (
	lineHold  = 200 * time.Millisecond // how long an event waits for others, to be written with them
	linesHeld = 1 << 20                // bytes of events that wait for a disk that does not keep up
)

// A Log keeps events. It is safe for concurrent use.
type Log struct {
	opts   Options
	begun  time.Time // events before it are in files alone
	folder *folder   // nil: no files
	pipe   *logpipe.Pipe
	scans  chan struct{} // holds a token while files are read

	mu     sync.Mutex
	memory *memory

	overRate, overShare atomic.Int64 // events lost
}

// Open makes a log. The folder is not touched yet: whether it can be written shows
// with the first event, and what is wrong with it loses events, never a request.
func Open(opts Options) (*Log, error) {
	opts = opts.withDefaults()
	l := &Log{
		opts: opts, begun: time.Now(), memory: newMemory(opts.MemoryBytes, opts.MemoryEvents),
		scans: make(chan struct{}, 1),
	}
	if err := l.register(opts.Registerer); err != nil {
		return nil, fmt.Errorf("waf events: %w", err)
	}
	if opts.Dir != "" {
		l.folder = &folder{dir: opts.Dir, maxAge: opts.MaxAge, most: opts.MaxBytes, fileMost: opts.FileBytes, log: opts.Logger}
		l.pipe = logpipe.New(l.folder, logpipe.Options{
			Size: linesHeld, Hold: lineHold,
			Failed: func(err error) {
				opts.Logger.Error("waf events cannot be written, they are held in memory alone", "dir", opts.Dir, "err", err)
			},
			Resumed: func(lost int64) { opts.Logger.Warn("waf events are being written again", "lost", lost) },
		})
	}
	return l, nil
}

// Record keeps the event, which is the log's from now on, and waits for nobody. Too
// many of one tenant in one second are counted in the next one that is kept.
func (l *Log) Record(e *Event) {
	e.Node = l.opts.Node
	e.Time = e.Time.UTC().Truncate(time.Millisecond) // as files have it
	e.fit()
	if !l.hold(e) {
		l.overRate.Add(1)
		return
	}
	if l.pipe == nil {
		return
	}
	line := lines.Get().(*[]byte)
	defer lines.Put(line)
	*line = appendLine((*line)[:0], e)
	if !l.afford(e, len(*line)) {
		l.overShare.Add(1)
		return
	}
	_, _ = l.pipe.Write(*line) // a lost event is counted there, and said once
}

// hold puts the event into memory, unless there were too many.
func (l *Log) hold(e *Event) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.memory.shelf(e.owner(), float64(l.opts.Share), e.Time)
	if !s.gate.admit(e, e.Time) {
		return false
	}
	l.memory.add(s, e)
	return true
}

func (l *Log) afford(e *Event, bytes int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	share := float64(l.opts.Share)
	return l.memory.shelf(e.owner(), share, e.Time).gate.afford(bytes, e.merely() || e.often, share, e.Time)
}

// sweepEvery is how often old events and files are looked for.
const sweepEvery = time.Hour

// Run removes what is too old, at once and then every hour, until ctx ends.
func (l *Log) Run(ctx context.Context) error {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		l.sweep(time.Now())
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (l *Log) sweep(now time.Time) {
	l.mu.Lock()
	l.memory.sweep(now.Add(-l.opts.MaxAge), now)
	l.mu.Unlock()
	if l.folder == nil {
		return
	}
	if err := l.folder.sweep(now); err != nil {
		l.opts.Logger.Warn("old waf events cannot be removed", "dir", l.opts.Dir, "err", err)
	}
}

// Close writes what waits and closes the file. It waits two seconds at most for a disk
// that takes nothing; the error says that events were lost so. Record goes on to
// hold events in memory.
func (l *Log) Close() error {
	if l.pipe == nil {
		return nil
	}
	if err := l.pipe.Close(); err != nil {
		return fmt.Errorf("close the waf events: %w", err) // the file is the stuck writer's
	}
	return l.folder.Close()
}
