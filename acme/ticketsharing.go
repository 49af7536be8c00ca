package acme

import (
	"bytes"
	"context"
	"errors"
	"time"
)

// lookAgain compares the keys that this node has with those that are shared. Between two rotations they may have been lost there, and made
// anew by a node that had none.
func (t *tickets) lookAgain(ctx context.Context, now time.Time) error {
	old := t.ring.Load()
	ring := *old
	failed := t.agree(ctx, &ring, now)
	if err := t.choose(&ring, old, now); err != nil {
		return err
	}
	t.ring.Store(&ring)
	return failed
}

// agree takes what is shared in the place of what is held, and shares what is not: the first to come makes a key, an epoch ahead of its time, so that all
// have it when it is first used, and what a Redis has lost comes back.
func (t *tickets) agree(ctx context.Context, ring *ticketRing, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, sharedWait)
	defer cancel()
	places := make([]string, len(ring.keys))
	for i, key := range ring.keys {
		places[i] = ticketPlace(key.epoch)
	}
	found, err := t.shared.Read(ctx, places...)
	if err != nil {
		return err
	}
	var failed []error
	for i, sealed := range found {
		at := &ring.keys[i]
		key, fresh, err := agreedKey(ctx, t.shared, t.keys, places[i], sealed, at.key, at.epoch >= ring.epoch, endOfTickets(at.epoch).Sub(now))
		if fresh == nil && key != nil && at.unkept {
			fresh = t.keys.seal(places[i], key)
		}
		if fresh != nil {
			err = writeFile(t.file(at.epoch), fresh, 0o600) // it is used all the same
			at.unkept = err != nil
		}
		failed = append(failed, err)
		if key != nil && !bytes.Equal(key, at.key) {
			at.since = now
			failed = append(failed, at.set(key))
		}
	}
	return errors.Join(failed...)
}

// endOfTickets is when a key is of no use any more.
func endOfTickets(epoch uint32) time.Time {
	return time.Unix((int64(epoch)+1+ticketsKept)*int64(ticketEpoch/time.Second), 0)
}
