package health

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
)

// Options configure a Register. All are optional.
type Options struct {
	// File keeps drains and key over a restart; empty: nothing does.
	File string
	// Shared brings them to other nodes; nil: this one is alone.
	Shared Shared
	// Node names this one among them. Others may have the same name: it is without a slash, behind which processes are told apart.
	Node string
	// Apply is told of all drains whenever they change. It must not block, and is not called at the same time twice.
	Apply func(drains []Drain)
	// UseKey is told of the key by which sticky cookies are made, whenever that changes.
	UseKey func(Key)
	// InFlight returns how many requests are on their way to what a drain covers.
	InFlight func(Drain) int64
	// Prober checks backends when it is this node's turn; nil: nobody does.
	Prober *Prober
	// Logger; nil discards.
	Logger *slog.Logger
}

// A Register holds the drains of one node. It is safe for concurrent use.
type Register struct {
	opts    Options
	log     *slog.Logger
	process string // Options.Node, a slash and what no other process has

	changing sync.Mutex // held from a change of state to the end of what follows from it
	mu       sync.Mutex
	state    saved
	version  string           // of what is shared; empty: nothing was read yet
	unsaid   map[string]error // reports that cannot be read, by process; each was told

	// With changing held.
	keyed      bool             // the key is the shared one
	wasRead    time.Time        // all that is shared; zero: it is to be read whatever its version
	unread     map[string]error // what was read last and cannot be: Snapshot.Unread
	downUnread error            // of findings likewise
	unsaved    bool             // the state is not that of the file, which could not be written

	// Of Run alone.
	down         bool // Redis was said to be away
	wasReported  time.Time
	reportedThat string // version
}

// Open reads the file and applies what is in it. One that cannot be read, or is none of ours, is put aside and said so: drains of a node
// that is alone are lost with it, but that is no reason to serve nobody.
func Open(o Options) *Register {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Apply == nil {
		o.Apply = func([]Drain) {}
	}
	if o.UseKey == nil {
		o.UseKey = func(Key) {}
	}
	if o.InFlight == nil {
		o.InFlight = func(Drain) int64 { return 0 }
	}
	r := &Register{opts: o, log: o.Logger, process: newProcess(o.Node)}
	state, err := readFile(o.File)
	if err != nil {
		r.putAside(err)
	}
	if state.Key == (Key{}) {
		_, _ = rand.Read(state.Key[:]) // never fails (crypto/rand)
		r.noteFile(writeFile(o.File, state))
	}
	r.state = state
	o.UseKey(state.Key)
	o.Apply(state.Drains)
	return r
}

// aside is put behind the name of a file that cannot be read.
const aside = ".damaged"

// putAside keeps what cannot be read for whoever can make something of it: the next change would put another file in its place.
func (r *Register) putAside(why error) {
	kept := r.opts.File + aside
	if err := os.Rename(r.opts.File, kept); err != nil {
		why, kept = errors.Join(why, err), ""
	}
	r.log.Error("drained backends lost: none is drained until they are drained again, or Redis is followed", "err", why, "kept", kept)
}

// Drains returns the drains in force, by URL and tenant. They must not be changed.
func (r *Register) Drains() []Drain {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.Drains
}

// Reload takes over what another process has written into the file meanwhile, and leaves the file alone: that process may be writing.
func (r *Register) Reload() error {
	r.changing.Lock()
	defer r.changing.Unlock()
	state, err := readFile(r.opts.File)
	if err != nil {
		return err
	}
	r.mu.Lock()
	version := r.version
	r.mu.Unlock()
	if state.Key == (Key{}) { // the file is gone
		state.Key = r.key()
	}
	r.take(state, version)
	return nil
}

// ErrUnsaved is wrapped where Redis and this node have a drain that the node's file has not.
var ErrUnsaved = errors.New("it is done, on all nodes, but a restart of this one would forget it while Redis is away")

// Set drains a backend or ends that, here at once and on the nodes that share a Redis within a second. After an error nothing has changed: Redis
// did not take it, or, of a node alone, the file cannot be written. After ErrUnsaved it has, here and on the others.
func (r *Register) Set(ctx context.Context, d Drain, drained bool) error {
	d.Since = d.Since.UTC().Truncate(time.Second) // as it comes back
	r.changing.Lock()
	defer r.changing.Unlock()
	version, err := r.share(ctx, d, drained)
	if err != nil {
		return fmt.Errorf("nothing was changed, since other nodes would not know: %w", err)
	}
	drains := slices.DeleteFunc(slices.Clone(r.Drains()), func(have Drain) bool { return have.Key() == d.Key() })
	if drained {
		drains = append(drains, d)
	}
	if err = r.keep(saved{Key: r.key(), Drains: sorted(drains)}, version); err != nil && r.opts.Shared != nil {
		return fmt.Errorf("%w: %w", ErrUnsaved, err)
	}
	return err
}

// errLost is of what is lost again and again.
var errLost = errors.New("what nodes share was lost at the same time")

// share has others follow a change. Before that this node takes over what they have changed, and brings back what is lost, or the change
// would be all that is there.
func (r *Register) share(ctx context.Context, d Drain, drained bool) (version string, err error) {
	if r.opts.Shared == nil {
		return "", nil
	}
	for range 2 { // it may be lost between the two
		if err := r.read(ctx); err != nil {
			return "", err
		}
		if version, err = r.opts.Shared.Change(ctx, d, drained); err != nil || version != "" {
			r.wasRead = time.Time{} // another may have changed something between the two
			return version, err
		}
	}
	return "", errLost
}

func (r *Register) key() Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.Key
}

// keep makes a state the one in force. The file comes first: what it does not hold would be forgotten, so a node alone refuses it. Where Redis holds
// it, too, a full disk is no reason to send requests to what all other nodes spare: the file is written when that works again.
func (r *Register) keep(state saved, version string) error {
	r.mu.Lock()
	before := r.state
	r.mu.Unlock()
	var unsaved error
	if before.Key != state.Key || !slices.Equal(before.Drains, state.Drains) || r.unsaved {
		if unsaved = writeFile(r.opts.File, state); unsaved != nil && r.opts.Shared == nil {
			return unsaved
		}
		r.noteFile(unsaved)
	}
	r.take(state, version)
	return unsaved
}

// take has requests go by a state.
func (r *Register) take(state saved, version string) {
	r.mu.Lock()
	before := r.state
	r.state, r.version = state, version
	r.mu.Unlock()
	if before.Key != state.Key {
		r.opts.UseKey(state.Key)
	}
	if !slices.Equal(before.Drains, state.Drains) {
		r.opts.Apply(state.Drains)
	}
}

// noteFile logs when the file cannot be written, and when it can again.
func (r *Register) noteFile(err error) {
	switch {
	case (err != nil) == r.unsaved:
		return
	case err != nil:
		r.log.Error("drained backends are not in this node's file: a restart would forget them while Redis is away", "err", err)
	default:
		r.log.Info("drained backends are in this node's file again")
	}
	r.unsaved = err != nil
}

// Run follows what is shared and has backends checked until ctx ends, and returns ctx's error.
func (r *Register) Run(ctx context.Context) error {
	var probing sync.WaitGroup
	defer probing.Wait()
	if p := r.opts.Prober; p != nil {
		probing.Go(func() { _ = p.Run(ctx) }) // returns ctx's error
		probing.Go(func() { r.lead(ctx) })
	}
	return r.followShared(ctx)
}
