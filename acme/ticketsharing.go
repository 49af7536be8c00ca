package acme

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
		key, err := t.agreed(ctx, at.epoch, sealed, at.key, at.epoch >= ring.epoch, endOfTickets(at.epoch).Sub(now))
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

// agreed is the key of an epoch that all nodes have, nil if there is none: what is shared of it, else what is held, else, where make is set, a new one.
// The key may be valid beside an error: it is then not in the folder.
func (t *tickets) agreed(ctx context.Context, epoch uint32, sealed, held []byte, make bool, life time.Duration) ([]byte, error) {
	place := ticketPlace(epoch)
	own := func() []byte {
		if held == nil && make {
			return newKey()
		}
		return held
	}
	if sealed == nil {
		key := own()
		if key == nil {
			return nil, nil
		}
		var err error
		if sealed, err = t.shared.Create(ctx, place, t.keys.seal(place, key), life); err != nil {
			return nil, err
		}
	}
	key, again := t.unseal(epoch, sealed)
	if key == nil {
		if !t.keys.isForeign(sealed) { // others' seal keys, or a later version's: whoever is wrong is not known
			return nil, fmt.Errorf("%s: %w", place, errSealed)
		}
		if key, again = own(), true; key == nil {
			return nil, nil
		}
	}
	if again {
		sealed = t.keys.seal(place, key)
		if err := t.shared.Write(ctx, place, sealed, life); err != nil {
			return nil, err
		}
	} else if bytes.Equal(key, held) {
		return key, nil
	}
	return key, writeFile(t.file(epoch), sealed, 0o600)
}
