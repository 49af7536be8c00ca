package redisstore

import (
	"context"
	"slices"
	"sync"
	"time"

	"gatehouse/internal/redisconn"
)

// maxWaiting bounds the keys that wait in an inbox, some 20 MB of them. Who writes faster than is read, for that long, has
// everything be read again, which takes as long however many keys come and go.
const maxWaiting = 200_000

// An inbox gathers what the masters tell of, so that nobody waits for whoever
// acts on it: what is told twice meanwhile is acted upon once.
type inbox struct {
	full chan struct{} // holds a token while there is something
	most int           // keys that wait at most

	mu   sync.Mutex
	keys map[string]struct{}
	all  all
	err  error // a connection has ended
}

// all says why everything has to be read again, and no single keys.
type all uint8

const (
	allGood    all = iota // it has not
	allFlushed            // FLUSHALL, FLUSHDB
	allTooMany            // keys
)

func newInbox(most int) *inbox { return &inbox{full: make(chan struct{}, 1), most: most} }

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
		if keys.Null || pushes[i].TooLarge {
			in.keys, in.all = nil, allFlushed
		}
		for _, key := range keys.Items {
			in.note(key.Text)
		}
	}
	select {
	case in.full <- struct{}{}:
	default:
	}
}

// note adds a key, with mu held. What is read again as a whole is read after this.
func (in *inbox) note(key string) {
	if in.all != allGood {
		return
	}
	if in.keys == nil {
		in.keys = map[string]struct{}{}
	}
	if in.keys[key] = struct{}{}; len(in.keys) > in.most {
		in.keys, in.all = nil, allTooMany
	}
}

// take empties the inbox. The keys are sorted.
func (in *inbox) take() (keys []string, why all, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for key := range in.keys {
		keys = append(keys, key)
	}
	why = in.all
	in.keys, in.all = nil, allGood
	slices.Sort(keys)
	return keys, why, in.err
}
