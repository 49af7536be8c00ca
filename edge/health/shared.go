package health

import (
	"context"
	"time"
)

// A Shared is what nodes have in common. Each call is bounded by its context and may fail; nothing is lost by that.
// It must be safe for concurrent use.
type Shared interface {
	// Read returns what is shared, or nil if that is still what it was at that version.
	Read(ctx context.Context, version string) (*Snapshot, error)
	// Change puts a drain in, or takes it out, and makes a new version; empty: there is none to follow, since all is lost. After an
	// error there is no new one.
	Change(ctx context.Context, d Drain, drained bool) (version string, err error)
	// Restore puts in what a node knows where all is lost, everything at once, and makes the first version. Nothing else makes that: a
	// version with a part of what was there would have nodes give up the rest.
	Restore(ctx context.Context, drains []Drain, down map[string]Finding) (version string, err error)
	// Key returns the key that all nodes have, which is fresh if there was none.
	Key(ctx context.Context, fresh Key) (Key, error)
	// Lease takes what has that name for an owner, for a life; false: another owner has it.
	Lease(ctx context.Context, name, owner string, life time.Duration) (bool, error)
	// Leased reports whether somebody has it.
	Leased(ctx context.Context, name string) (bool, error)
	// Release gives it back.
	Release(ctx context.Context, name, owner string) error
	// Tell adds findings to what is shared, or takes them out (nil), by place, and makes a new version, unless all is lost.
	Tell(ctx context.Context, findings map[string]*Finding) error
	// Report says how a process stands, until it says so anew or withdraws, or for two minutes.
	Report(ctx context.Context, process string, r Report) error
	// Withdraw takes back at once what a process has said: it ends.
	Withdraw(ctx context.Context, process string) error
	// Reports returns what processes have said lately, and of whose report cannot be read: why not.
	Reports(ctx context.Context) (reports map[string]Report, unread map[string]error, err error)
}

// A Snapshot is what is shared at a time.
type Snapshot struct {
	Version string // empty: nobody has shared anything yet, or all is lost
	Drains  []Drain
	Unread  map[string]error   // drains that cannot be read, by Drain.Key: why not
	Down    map[string]Finding // by the place of a target
	// DownUnread is why the findings cannot be read; nil: Down are all that there are.
	DownUnread error
}

// A Report is how a process stands, of which there may be several of one node: beside the one that serves another that drains.
type Report struct {
	Version string `json:"version"` // that it acts by
	// InFlight is how many requests are on their way to what is drained, by Drain.Key.
	InFlight map[string]int64 `json:"in_flight,omitempty"`
}

// A Key is what nodes key the values of sticky cookies by.
type Key [32]byte

const (
	// pollEvery is how often a node looks whether anything that is shared has changed: a change acts within a second everywhere.
	pollEvery = 500 * time.Millisecond
	// readEvery is how often all is read whatever the version says, for those who write to Redis by hand.
	readEvery = 10 * time.Second
	// reportEvery is how often a node says that it is there while nothing changes and nothing is drained.
	reportEvery = 2 * time.Second
	// callTime bounds what is asked of Redis at a time.
	callTime = 2 * time.Second
)
