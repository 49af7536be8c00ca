package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gatehouse/internal/redisconn"
	"gatehouse/routes"
)

const (
	// pingEvery is how often an idle connection is tried: 12 commands a minute,
	// and a hung server is known after pingEvery + redisconn.StepTimeout.
	pingEvery = 5 * time.Second
	// settle gathers what several commands in a row change (DEL, then RPUSH).
	settle = 25 * time.Millisecond
	// goneAfter is how long a document must be missing before it counts as
	// deleted: hipache's tools replace a list by DEL and RPUSH, one after the other.
	goneAfter = 100 * time.Millisecond

	firstBackOff, lastBackOff = 100 * time.Millisecond, 2 * time.Second
	// acceptFor is how long accept-loss holds, from when a node has seen it.
	acceptFor = "60"
)

// Watch follows Redis until ctx ends, and returns ctx's error:
//
//  1. Connect, and have the server tell of every change from now on.
//  2. Read everything: a Full batch. It is not Trusted, since the data may be
//     lost and not deleted, unless gatehouse:accept-loss is set.
//  3. Read the keys that the server names and yield their documents.
//
// A flush is answered with 2. When the connection is lost or the server does not
// answer within about nine seconds it begins at 1, after 0.1 s, growing to 2 s.
// SET gatehouse:accept-loss makes all nodes do 2 with trust; it is given a life
// of a minute, so that the protection comes back by itself.
func (s *Store) Watch(ctx context.Context, yield func(routes.Batch)) error {
	backOff := firstBackOff
	for {
		f := follower{store: s, yield: yield}
		err := f.follow(ctx)
		if ctx.Err() != nil {
			s.setUp(ctx.Err())
			return ctx.Err()
		}
		if s.Up() == nil || errors.Is(s.Up(), errNotFollowed) {
			s.log.Error("redis routes are not followed: the last good ones go on serving", "redis", s.client.String(), "err", err)
		}
		s.setUp(err)
		if f.synced {
			backOff = firstBackOff
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(backOff):
		}
		backOff = min(2*backOff, lastBackOff)
	}
}

// A follower follows one connection.
type follower struct {
	store  *Store
	yield  func(routes.Batch)
	conn   *redisconn.Conn
	reader reader
	synced bool
	// accepted: gatehouse:accept-loss has been acted upon and is still there.
	accepted bool
	// missing are documents that have lost their keys, and since when.
	missing map[routes.Key]time.Time
}

func (f *follower) follow(ctx context.Context) (err error) {
	if f.conn, err = f.store.client.Dial(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.conn.Close()) }()
	prefix := f.store.prefix
	f.missing = map[routes.Key]time.Time{}
	f.reader = reader{prefix: prefix, conn: f.conn, odd: &f.store.odd}
	if _, err := f.conn.Must([]string{
		"CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", prefix + frontendKey, "PREFIX", prefix + vhostKey,
		"PREFIX", prefix + tenantKey, "PREFIX", prefix + acceptLossKey,
	}); err != nil {
		return fmt.Errorf("follow changes: %w", err)
	}
	if err := f.full(); err != nil {
		return err
	}
	f.store.log.Info("redis routes are followed", "redis", f.store.client.String(), "server", f.conn.Addr())
	for {
		wait := f.store.pingEvery
		if len(f.missing) > 0 {
			wait = goneAfter
		}
		pushes, err := f.conn.Pushes(wait, settle)
		if err != nil {
			return err
		}
		if len(pushes) == 0 && len(f.missing) == 0 {
			err = f.conn.Ping()
		} else {
			err = f.changed(pushes)
		}
		if err != nil {
			return err
		}
	}
}

// full reads everything, trusted if accept-loss is set.
func (f *follower) full() error {
	accept, err := f.acceptLoss()
	if err != nil {
		return err
	}
	batch, err := f.reader.all()
	if err != nil {
		return err
	}
	f.accepted = accept
	clear(f.missing)
	batch.Trusted = accept
	f.synced = true
	f.store.setUp(nil)
	f.yield(batch)
	return nil
}

// acceptLoss reports whether gatehouse:accept-loss is set, and bounds its life.
func (f *follower) acceptLoss() (bool, error) {
	key := f.store.prefix + acceptLossKey
	replies, err := f.conn.Must([]string{"TTL", key})
	if err != nil {
		return false, err
	}
	switch replies[0].Text {
	case "-2": // not there
		return false, nil
	case "-1": // for ever
		f.accepted = false // it was set anew
		replies, err := f.conn.Do([]string{"EXPIRE", key, acceptFor})
		if err != nil {
			return false, err
		}
		if err := replies[0].Err(); err != nil {
			f.store.log.Error("accept-loss stays set: delete it, or losses go on being accepted", "key", key, "err", err)
		}
	}
	return true, nil
}

// changed acts on invalidations.
func (f *follower) changed(pushes []redisconn.Reply) error {
	var raws []string
	seen := map[string]bool{}
	flushed, accept := false, false
	for i := range pushes {
		kind, keys := pushes[i].Kind()
		if kind != "invalidate" {
			continue
		}
		// No list of keys means all of them: FLUSHALL, FLUSHDB.
		flushed = flushed || keys.Null || pushes[i].TooLarge
		for _, key := range keys.Items {
			if key.Text == f.store.prefix+acceptLossKey {
				accept = true
			} else if !seen[key.Text] {
				seen[key.Text] = true
				raws = append(raws, key.Text)
			}
		}
	}
	if flushed {
		f.store.log.Warn("redis was flushed: all routes are read again", "redis", f.store.client.String())
		return f.full()
	}
	if accept {
		there, err := f.acceptLoss()
		if err != nil {
			return err
		}
		if there && !f.accepted {
			f.store.log.Warn("loss of routes accepted: all routes are read again", "redis", f.store.client.String())
			return f.full()
		}
		f.accepted = there
	}
	for doc := range f.missing {
		if raw := canonical(f.store.prefix, doc, partJSON); !seen[raw] {
			raws = append(raws, raw)
		}
	}
	if len(raws) == 0 {
		return nil
	}
	batch, err := f.reader.some(raws)
	if err != nil {
		return err
	}
	batch.Changes = slices.DeleteFunc(batch.Changes, f.perhaps)
	f.yield(batch)
	return nil
}

// perhaps reports whether a change is a removal that may yet prove to be half of
// a replacement; it is read again.
func (f *follower) perhaps(c routes.Change) bool {
	if !c.Gone() {
		delete(f.missing, c.Key)
		return false
	}
	since, again := f.missing[c.Key]
	if !again {
		f.missing[c.Key] = time.Now()
		return true
	}
	if time.Since(since) < goneAfter {
		return true
	}
	delete(f.missing, c.Key)
	return false
}
