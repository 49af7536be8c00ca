package acme

import (
	"context"
	"time"
)

// Shared is what the nodes of a fleet have in common: package rediscache has it in Redis. Everything in it that is secret is sealed
// (see Keyring); the implementation never sees a key. Its calls are bounded by their context and by its own time limits, of
// some hundred milliseconds, since handshakes wait for some of them. It must be safe for concurrent use.
//
// Keys are those of the settings' prefix and what is written here: the implementation puts the prefix before them.
type Shared interface {
	// Read returns the value at each key; nil where there is none, and an empty one where there is something that is no value.
	Read(ctx context.Context, keys ...string) ([][]byte, error)
	// Write writes a value, which is gone after life.
	Write(ctx context.Context, key string, value []byte, life time.Duration) error
	// Create writes a value where there is none, and returns what is there then, as Read does.
	Create(ctx context.Context, key string, value []byte, life time.Duration) ([]byte, error)
	// Remove removes keys, ranked ones too.
	Remove(ctx context.Context, keys ...string) error

	// ReadRanked returns the value and rank at each key; a nil value where there is none, and an empty one as in Read.
	ReadRanked(ctx context.Context, keys ...string) ([]Ranked, error)
	// WriteRanked writes a value unless one of the same or a higher rank is there, and reports whether it did: so the order in
	// which nodes write does not matter, and a late one takes nothing back.
	WriteRanked(ctx context.Context, key string, value Ranked, life time.Duration) (written bool, err error)

	// Replace writes a value in the place of exactly what is there, whatever its rank, and reports whether it did.
	Replace(ctx context.Context, key string, there []byte, value Ranked, life time.Duration) (written bool, err error)

	// Lease takes a key for life, or keeps it for that much longer. owner tells who has it. It reports whether owner has it now.
	Lease(ctx context.Context, key, owner string, life time.Duration) (bool, error)
	// Release gives a key back, if owner has it.
	Release(ctx context.Context, key, owner string) error
	// Take counts one of at most so many within a window that begins with the first. wait is 0 if it was counted, else how long until
	// the window ends.
	Take(ctx context.Context, key string, most int, window time.Duration) (wait time.Duration, err error)
	// GiveBack takes back one that Take has counted, if the window has not ended.
	GiveBack(ctx context.Context, key string) error

	// Announce tells all nodes of a change, this one included.
	Announce(ctx context.Context, event string) error
	// Follow calls on for each event from now on until ctx ends, and missed when events may have been missed, at the beginning too. It
	// returns ctx's error.
	Follow(ctx context.Context, on func(event string), missed func()) error
}

// insist makes calls until they work, for sharedWait at most. Implementations give a call up after some hundred milliseconds; an order must not be
// lost, nor made by each node, because what is shared was slow for one moment of it. Whatever is called may have worked before, too.
func insist(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, sharedWait)
	defer cancel()
	for pause := insistPause; ; pause *= 2 {
		err := call(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

const insistPause = 50 * time.Millisecond

// Ranked is a value that a lower rank never replaces.
type Ranked struct {
	Value []byte
	// Rank orders values: generation first, then the end of validity, see rankOf. It has at most 53 bits.
	Rank uint64
}

// rankOf ranks certificates of one name: a forced change comes before what was there, else the one that is valid for longer. 36 bits of
// seconds reach beyond the year 4000.
func rankOf(generation uint64, notAfter time.Time) uint64 {
	return generation<<36 | uint64(max(notAfter.Unix(), 0))&(1<<36-1)
}

// endOf is the end of validity in a rank.
func endOf(rank uint64) time.Time { return time.Unix(int64(rank&(1<<36-1)), 0) }

// generationOf is the generation of a rank.
func generationOf(rank uint64) uint64 { return rank >> 36 }
