package rediscache

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	eventsKey   = "gatehouse:{acme}:events"
	eventField  = "event"
	markField   = "mark" // of an entry that tells nothing
	eventsKept  = 1000
	eventsRead  = 500
	eventsBlock = 2 * time.Second
	// eventsGrace is how much longer than eventsBlock Redis may take to say that there is none.
	eventsGrace = time.Second

	firstBackOff, lastBackOff = 50 * time.Millisecond, 2 * time.Second
)

// Announce implements acme.Shared.
func (s *Store) Announce(ctx context.Context, event string) error {
	return wrap(s.client.XAdd(ctx, &redis.XAddArgs{
		Stream: s.prefix + eventsKey, MaxLen: eventsKept, Approx: true, Values: []string{eventField, event},
	}).Err())
}

// Follow implements acme.Shared. It reads the stream on from where it is. After an error, and where the stream lacks what was read
// last, events may have been missed.
func (s *Store) Follow(ctx context.Context, on func(event string), missed func()) error {
	backOff := firstBackOff
	for ctx.Err() == nil {
		begin := time.Now()
		err := s.follow(ctx, on, missed)
		if ctx.Err() != nil {
			break
		}
		if err == nil || time.Since(begin) > lastBackOff {
			backOff = firstBackOff
		}
		select {
		case <-ctx.Done():
		case <-time.After(backOff):
		}
		backOff = min(2*backOff, lastBackOff)
	}
	return ctx.Err()
}

// follow reads on from the stream's present end until something fails.
func (s *Store) follow(ctx context.Context, on func(string), missed func()) error {
	last, err := s.end(ctx)
	if err != nil {
		return err
	}
	missed() // behind the place from which events are read: nothing falls between the two
	for ctx.Err() == nil {
		entries, err := s.readEvents(ctx, last)
		if err == nil {
			err = s.isThere(ctx, last)
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			if event, ok := e.Values[eventField].(string); ok {
				on(event)
			}
			last = e.ID
		}
		if len(entries) == eventsRead { // so many that some may have been trimmed before they were read
			return nil
		}
	}
	return nil
}

// end is the ID of the stream's last entry. An empty stream gets one, which tells nothing: without any, that all was lost could not be seen.
func (s *Store) end(ctx context.Context) (string, error) {
	entries, err := s.client.XRevRangeN(ctx, s.prefix+eventsKey, "+", "-", 1).Result()
	if err != nil {
		return "", wrap(err)
	}
	if len(entries) > 0 {
		return entries[0].ID, nil
	}
	id, err := s.client.XAdd(ctx, &redis.XAddArgs{Stream: s.prefix + eventsKey, Values: []string{markField, "1"}}).Result()
	return id, wrap(err)
}

var errLost = errors.New("the stream of events lacks what was read last: it was emptied, or is another one")

// isThere looks whether the stream has an entry: a connection outlives FLUSHALL, and the failover of a proxy. After a full batch it may have been trimmed.
func (s *Store) isThere(ctx context.Context, id string) error {
	entries, err := s.client.XRevRangeN(ctx, s.prefix+eventsKey, id, "-", 1).Result()
	if err == nil && (len(entries) == 0 || entries[0].ID != id) {
		return errLost
	}
	return wrap(err)
}

func (s *Store) readEvents(ctx context.Context, last string) ([]redis.XMessage, error) {
	limited, cancel := context.WithTimeout(ctx, eventsBlock+eventsGrace)
	defer cancel()
	streams, err := s.client.Patient().XRead(limited, &redis.XReadArgs{Streams: []string{s.prefix + eventsKey, last}, Count: eventsRead, Block: eventsBlock}).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil || len(streams) != 1 {
		return nil, wrap(err)
	}
	return streams[0].Messages, nil
}
