package wire

import (
	"sync"
	"time"
)

// seldom says when a line may be logged: once a minute and key, or a flood would
// fill the log. The keys are few. It is safe for concurrent use.
type seldom struct {
	mu   sync.Mutex
	keys map[string]*said
}

type said struct {
	at         time.Time
	suppressed int // lines since then
}

// due reports whether a line is due, and how many were not since the last one.
func (l *seldom) due(key string) (suppressed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.keys[key]
	if last == nil {
		if l.keys == nil {
			l.keys = map[string]*said{}
		}
		last = &said{}
		l.keys[key] = last
	}
	now := time.Now()
	if !last.at.IsZero() && now.Sub(last.at) < time.Minute {
		last.suppressed++
		return 0, false
	}
	suppressed = last.suppressed
	last.at, last.suppressed = now, 0
	return suppressed, true
}
