package redisstore

import (
	"context"
	"slices"
	"sync"
	"time"

	"gatehouse/internal/redisconn"
)

// An inbox gathers what the masters tell of, so that nobody waits for whoever
// acts on it: what is told twice meanwhile is acted upon once.
type inbox struct {
	full chan struct{} // holds a token while there is something

	mu      sync.Mutex
	keys    map[string]struct{}
	flushed bool
	err     error // a connection has ended
}

func newInbox() *inbox { return &inbox{full: make(chan struct{}, 1)} }

// listen fills the inbox from one connection until that ends, which is told, too.
func (in *inbox) listen(ctx context.Context, conn *redisconn.Conn, pingEvery time.Duration) {
	for {
		pushes, err := conn.Pushes(pingEvery, settle)
		if err == nil && len(pushes) == 0 {
			err = conn.Ping()
		}
		if ctx.Err() != nil {
			return
		}
		in.add(pushes, err)
		if err != nil {
			return
		}
	}
}

func (in *inbox) add(pushes []redisconn.Reply, err error) {
	if len(pushes) == 0 && err == nil {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err == nil {
		in.err = err
	}
	for i := range pushes {
		kind, keys := pushes[i].Kind()
		if kind != "invalidate" {
			continue
		}
		// No list of keys means all of them: FLUSHALL, FLUSHDB.
		in.flushed = in.flushed || keys.Null || pushes[i].TooLarge
		for _, key := range keys.Items {
			if in.keys == nil {
				in.keys = map[string]struct{}{}
			}
			in.keys[key.Text] = struct{}{}
		}
	}
	select {
	case in.full <- struct{}{}:
	default:
	}
}

// take empties the inbox. The keys are sorted.
func (in *inbox) take() (keys []string, flushed bool, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for key := range in.keys {
		keys = append(keys, key)
	}
	flushed = in.flushed
	in.keys, in.flushed = nil, false
	slices.Sort(keys)
	return keys, flushed, in.err
}
