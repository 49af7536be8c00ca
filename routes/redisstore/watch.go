package redisstore

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"gatehouse/internal/redisconn"
	"gatehouse/routes"
)

const (
	// pingEvery is how often an idle connection is tried: a hung server is known
	// after pingEvery + redisconn.PingTimeout.
	pingEvery = 2 * time.Second
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
//  1. Connect to every master, and have each tell of every change from now on.
//  2. Read everything: a Full batch. It is not Trusted, since the data may be
//     lost and not deleted, unless gatehouse:accept-loss is set.
//  3. Read the keys that the masters name and yield their documents, or that other nodes have agreed on who has an alias.
//
// A server that does not tell of changes is polled: see poll. A flush is answered
// with 2. When a connection is lost, a server does not answer within about five
// seconds or others are the masters now, it begins at 1, after 0.1 s, growing to 2 s.
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
		if before := *s.up.Load(); before == nil || errors.Is(before, errNotFollowed) {
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

// A follower follows one session.
type follower struct {
	store   *Store
	yield   func(routes.Batch)
	session *redisconn.Session
	inbox   *inbox
	reader  reader
	synced  bool
	// accepted: gatehouse:accept-loss has been acted upon and is still there.
	accepted bool
	// missing are documents that have lost their keys, and since when.
	missing map[routes.Key]time.Time
	// lost are which parts of documents are known to have gone, until that is judged.
	lost map[routes.Key]parts
	// during are the documents that verbs have removed while everything is read: what that has of them is older; nil: it is not being read.
	during map[routes.Key]struct{}
}

func (f *follower) follow(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if f.session, err = f.store.client.Session(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.session.Close()) }()
	f.store.tell("connected")
	defer f.store.progress.Store(nil)
	f.missing, f.lost = map[routes.Key]time.Time{}, map[routes.Key]parts{}
	f.inbox = newInbox(f.store.maxWaiting)
	f.store.odd.clear()
	f.reader = reader{prefix: f.store.prefix, session: f.session, odd: &f.store.odd, evictions: &f.store.evictions, tell: f.store.tell}
	listeners, refusal, err := f.track(ctx)
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel() // ends what all waits for
	for _, conn := range listeners {
		all.Go(func() { f.inbox.listen(ctx, conn, f.store.pingEvery) })
	}
	masters := strings.Join(f.session.Masters(), ",")
	if refusal != nil {
		f.store.log.Warn("redis does not tell of changes: routes are polled", "redis", f.store.client.String(), "server", masters, "err", refusal)
		return f.poll(ctx)
	}
	if err := f.full(); err != nil {
		return err
	}
	f.store.log.Info("redis routes are followed", "redis", f.store.client.String(), "server", masters)
	return f.told(ctx)
}

// track makes a connection to each master that tells of changes. If one of them
// does not do that there are none, and refusal says why.
func (f *follower) track(ctx context.Context) (conns []*redisconn.Conn, refusal, err error) {
	if conns, err = f.session.Dial(ctx); err != nil {
		return nil, nil, err
	}
	prefix := f.store.prefix
	for _, conn := range conns {
		refusal, err = conn.Track(prefix+frontendKey, prefix+vhostKey, prefix+tenantKey, prefix+acceptLossKey, prefix+aliasesKey)
		if err != nil || refusal != nil {
			for _, conn := range conns {
				err = errors.Join(err, conn.Close())
			}
			return nil, refusal, err
		}
	}
	return conns, nil, nil
}

// told acts on what the masters tell of.
func (f *follower) told(ctx context.Context) error {
	check := time.NewTicker(f.store.pingEvery)
	defer check.Stop()
	for {
		var again <-chan time.Time
		if len(f.missing) > 0 {
			again = time.After(goneAfter)
		}
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.inbox.full:
			err = f.changed(f.inbox.take())
		case <-again:
			err = f.changed(nil, allGood, nil)
		case <-f.store.removed.some:
			err = f.removed()
		case <-check.C:
			if err = f.session.Check(); err == nil {
				err = f.look()
			}
		}
		if err != nil {
			return err
		}
	}
}

// full reads everything, trusted if accept-loss is set.
func (f *follower) full() error {
	begin := time.Now()
	accept, err := f.acceptLoss()
	if err != nil {
		return err
	}
	if accept {
		f.store.evictions.forget()
	}
	f.during = map[routes.Key]struct{}{}
	batch, err := f.reader.all()
	during := f.during
	f.during = nil
	if err != nil {
		return err
	}
	batch.Changes = slices.DeleteFunc(batch.Changes, func(c routes.Change) bool {
		_, removed := during[c.Key]
		return removed
	})
	// After the reading: what was evicted until now may be missing in it, or be told of next.
	if err := f.look(); err != nil {
		return err
	}
	f.accepted = accept
	clear(f.missing)
	clear(f.lost)
	batch.Trusted = accept
	batch.Doubt = f.store.evictions.doubt(f.session, f.store.prefix, f.store.evictions.since)
	f.store.evictions.since = begin
	f.synced, f.reader.tell = true, nil
	f.store.setUp(nil)
	f.tell(batch, false)
	for doc := range during {
		f.store.removed.add(doc) // it may be there again
	}
	return nil
}

// acceptLoss reports whether gatehouse:accept-loss is set, and bounds its life.
func (f *follower) acceptLoss() (bool, error) {
	key := f.store.prefix + acceptLossKey
	replies, err := f.reader.must([]string{"TTL", key})
	if err != nil {
		return false, err
	}
	switch replies[0].Text {
	case "-2": // not there
		return false, nil
	case "-1": // for ever
		f.accepted = false // it was set anew
		replies, err := f.session.Do([]string{"EXPIRE", key, acceptFor})
		if err != nil {
			return false, err
		}
		if err := replies[0].Err(); err != nil {
			f.store.log.Error("accept-loss stays set: delete it, or losses go on being accepted", "key", key, "err", err)
		}
	}
	return true, nil
}

// changed acts on what the inbox had, and looks again for what is missing.
func (f *follower) changed(keys []string, why all, err error) error {
	if err != nil {
		return err
	}
	switch why {
	case allFlushed:
		f.store.log.Warn("redis was flushed: all routes are read again", "redis", f.store.client.String())
		return f.full()
	case allTooMany:
		f.store.log.Warn("redis changes faster than it is read: all routes are read again", "redis", f.store.client.String(), "keys", f.store.maxWaiting)
		return f.full()
	}
	acceptLoss := f.store.prefix + acceptLossKey
	if i, ok := slices.BinarySearch(keys, acceptLoss); ok {
		keys = slices.Delete(keys, i, i+1)
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
	told := false
	if i, ok := slices.BinarySearch(keys, f.store.prefix+aliasesKey); ok {
		keys, told = slices.Delete(keys, i, i+1), true
	}
	count := len(keys)
	for doc := range f.missing {
		keys = append(keys, canonical(f.store.prefix, doc, partJSON))
	}
	if len(keys) > 0 {
		batch, err := f.reader.some(keys)
		if err != nil {
			return err
		}
		f.note(keys[:count])
		batch.Changes = slices.DeleteFunc(batch.Changes, f.perhaps)
		if err := f.judge(&batch); err != nil {
			return err
		}
		f.tell(batch, false)
	}
	if told {
		f.tell(routes.Batch{Problems: f.reader.problems()}, true)
	}
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
