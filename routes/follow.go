package routes

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// FollowerOptions configure a Follower.
type FollowerOptions struct {
	// Source is followed. Required.
	Source Source
	// LastGood is the file that holds the last good form of every document;
	// empty: nothing survives a restart.
	LastGood string
	// Apply is called with each new table and what changed in it, one call at a
	// time, first with the last good state of an earlier run. Required.
	Apply func(*Table, []Replaced)
	// AcceptLoss is the whole name of the key that makes the source's next batch a
	// trusted one, for messages: in Redis AcceptLossKey after the URL's prefix.
	// Empty: the source has none, as a folder; a restart accepts.
	AcceptLoss string
	// Logger: nil discards.
	Logger *slog.Logger
}

// AcceptLossKey is the key whose presence in Redis says that what is gone is really
// gone, without the prefix of the URL.
const AcceptLossKey = "gatehouse:accept-loss"

// A Follower keeps a table in step with a source, and keeps what was good:
//
//   - A bad document does not replace its last good form, also after a restart.
//   - After a reconnect or a flush, the absence of more than half (and more than
//     one) of the documents of a kind is not believed: all that are absent, of
//     both kinds, are held, loudly, until the source's next trusted batch (in
//     Redis: SET of FollowerOptions.AcceptLoss; of a folder: the first one of a
//     run, or the next folder in its place that has documents).
//   - What the source says may have gone by itself (Batch.Doubt) is held likewise.
//   - The last good state is written to a file, whole or not at all.
type Follower struct {
	opts  FollowerOptions
	log   *slog.Logger
	table atomic.Pointer[Table]
	first chan struct{} // closed with the source's first batch
	dirty chan struct{} // the last-good file is behind

	saving sync.Mutex // one write of the last-good file at a time
	saver  saver      // under saving

	mu       sync.Mutex
	synced   bool
	held     map[Key]struct{} // absent, and not believed to be gone; after a start also those of the process before
	toldHeld bool             // the log has said so
	problems Problems
	unsaved  unsaved
}

// FollowerStatus tells how the table stands to its source.
type FollowerStatus struct {
	Synced   bool     // the source was read at least once in this run
	Up       error    // nil: the source is being followed
	Held     int      // documents whose absence is not believed
	Problems Problems // that belong to no document
	// AcceptLoss is the key to SET so that the absence of what is held is believed;
	// empty: the source has none, and a restart accepts.
	AcceptLoss string
}

// NewFollower reads the last good state. A file that cannot be read is an error
// for the log and not for the caller: the source is there too.
func NewFollower(opts FollowerOptions) (*Follower, error) {
	if opts.Source == nil || opts.Apply == nil {
		return nil, errors.New("routes: a follower needs a source and an apply function")
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Follower{
		opts: opts, log: opts.Logger,
		first: make(chan struct{}), dirty: make(chan struct{}, 1), held: map[Key]struct{}{},
	}
	table := &Table{}
	if opts.LastGood != "" {
		changes, held, err := loadLastGood(opts.LastGood)
		if err != nil {
			f.log.Error("last good routes cannot be read", "file", opts.LastGood, "err", err)
		}
		f.held = held
		table, _ = table.With(changes)
	}
	f.table.Store(table)
	return f, nil
}

// Table returns the present table; never nil.
func (f *Follower) Table() *Table { return f.table.Load() }

// First is closed once the source's first batch has been applied.
func (f *Follower) First() <-chan struct{} { return f.first }

// Status returns how the table stands to its source.
func (f *Follower) Status() FollowerStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	return FollowerStatus{
		Synced: f.synced, Up: f.opts.Source.Up(), Held: len(f.held), Problems: f.problems, AcceptLoss: f.opts.AcceptLoss,
	}
}

// Run follows the source until ctx ends, and writes the last good state a last
// time. It returns ctx's error, or the source's if it gave up.
func (f *Follower) Run(ctx context.Context) error {
	if table := f.table.Load(); table.Len() > 0 {
		var all []Replaced
		for r := range table.Vhosts() {
			all = append(all, Replaced{New: r})
		}
		f.log.Info("last good routes applied", "vhosts", table.Len())
		f.opts.Apply(table, all)
	}
	var writer sync.WaitGroup
	stop := make(chan struct{})
	writer.Go(func() { f.keepLastGood(stop) })
	err := f.opts.Source.Watch(ctx, f.take)
	close(stop)
	writer.Wait()
	return err
}

// take folds one batch into the table.
func (f *Follower) take(b Batch) {
	table := f.table.Load()
	f.mu.Lock()
	b.Changes = f.believed(table, &b)
	changes := b.Changes
	for _, c := range b.Changes {
		if _, held := f.held[c.Key]; held {
			delete(f.held, c.Key) // it is there again, or was really deleted
			f.unsaved.add(c.Key)
		}
	}
	before := len(f.held)
	if b.Full {
		changes = append(changes[:len(changes):len(changes)], f.absences(table, &b)...)
	}
	first, said := !f.synced, f.problems
	f.synced, f.problems = true, b.Problems
	if len(f.held) != before {
		f.unsaved.all() // what is held is part of the last good state
	}
	f.mu.Unlock()

	next, built := table.with(changes, b.Full || b.Disputes, f.agree(&b))
	replaced, moved := built.replaced(), built.moved
	f.table.Store(next)
	f.opts.Apply(next, replaced)
	if len(replaced) > 0 || len(moved) > 0 {
		f.log.Info("routes applied", "vhosts", next.Len(), "changed", len(replaced))
	}
	f.mu.Lock()
	f.unsaved.add(moved...)
	if built.disowned {
		f.unsaved.all() // the snapshot has who has an alias before who only claims it
	}
	dirty := f.unsaved.any()
	f.mu.Unlock()
	if dirty {
		f.markDirty()
	}
	for _, c := range b.Changes {
		f.tellProblems(c.Key, newProblems(c.Problems, table.problems(c.Key)))
	}
	f.tellPaths(table, next, replaced, first)
	for _, p := range newProblems(b.Problems, said) {
		f.log.Warn("bad routes", "problem", p.Error())
	}
	if first {
		close(f.first)
	}
}

// agree asks the source to whom disputed aliases belong; nil: it does not know.
func (f *Follower) agree(b *Batch) agree {
	if b.Owners == nil {
		return nil
	}
	return func(disputes []Dispute, unsure func(string) bool) map[string]string {
		owners, err := b.Owners(disputes, unsure)
		if err != nil {
			f.log.Warn("aliases that several vhosts claim are not agreed upon with other nodes: who came first here has them", "aliases", len(disputes), "first", disputes[0].Alias, "err", err)
		}
		return owners
	}
}

// newProblems returns those that were not there before: each is logged once, not
// with every batch.
func newProblems(now, before Problems) Problems {
	if len(now) == 0 {
		return nil
	}
	said := make(map[Problem]struct{}, len(before))
	for _, p := range before {
		said[*p] = struct{}{}
	}
	var out Problems
	for _, p := range now {
		if _, ok := said[*p]; !ok {
			out = append(out, p)
		}
	}
	return out
}

// maxTold is how many problems of one document a change of it has in the log; whoever asks for it sees maxProblems.
const maxTold = 5

func (f *Follower) tellProblems(key Key, problems Problems) {
	for i, p := range problems {
		if i == maxTold {
			f.log.Warn("bad document has more problems than the log says", "document", key.String())
			return
		}
		f.log.Warn("bad document", "document", key.String(), "problem", p.Error())
	}
}

// absences returns the removals that a full batch implies, with f.mu held.
func (f *Follower) absences(table *Table, b *Batch) []Change {
	there := make(map[Key]struct{}, len(b.Changes))
	for i := range b.Changes {
		there[b.Changes[i].Key] = struct{}{}
	}
	absent := map[Kind][]Change{}
	total := map[Kind]int{}
	parts := losses{places: b.Places}
	see := func(key Key) {
		total[key.Kind]++
		_, ok := there[key]
		if !ok {
			absent[key.Kind] = append(absent[key.Kind], Change{Key: key})
		}
		parts.count(key, ok)
	}
	for r := range table.Vhosts() {
		see(Key{KindVhost, r.Name})
	}
	for name := range table.Tenants() {
		if doc, problems, _ := table.Tenant(name); doc != nil || len(problems) > 0 {
			see(Key{KindTenant, name})
		}
	}
	if b.Incomplete {
		return nil
	}
	if b.Trusted {
		clear(f.held)
	}
	lost := !b.Trusted && parts.most()
	var out, doubted []Change
	for kind, gone := range absent {
		if lost { // also the few of the other kind: sites are not served without their tenant's rules
			f.hold(kind, gone, total[kind])
			continue
		}
		for _, c := range gone {
			switch _, held := f.held[c.Key]; {
			case held:
			case b.doubts(c.Key):
				doubted = append(doubted, c)
			default:
				out = append(out, c)
			}
		}
	}
	f.holdDoubted(doubted)
	return out
}

// keepLastGood writes the last-good file behind the changes: at most once a
// second, and at most a tenth of the time.
func (f *Follower) keepLastGood(stop <-chan struct{}) {
	if f.opts.LastGood == "" {
		return
	}
	pause := time.NewTimer(0)
	defer pause.Stop()
	<-pause.C
	for {
		select {
		case <-f.dirty:
		case <-stop:
			select {
			case <-f.dirty:
				f.writeLastGood()
			default:
			}
			return
		}
		begin := time.Now()
		if f.writeLastGood() {
			pause.Reset(max(time.Second, 9*time.Since(begin)))
		} else {
			pause.Reset(retryLastGood)
			f.markDirty()
		}
		select {
		case <-pause.C:
		case <-stop:
			stop = closed // write what came meanwhile, then end
		}
	}
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// retryLastGood is the pause after a write that failed: the disk may be full.
const retryLastGood = 30 * time.Second

func (f *Follower) markDirty() {
	select {
	case f.dirty <- struct{}{}:
	default:
	}
}

// Save writes the last good state now, so that another process can begin with it.
// Run does so by itself, but a moment behind the changes.
func (f *Follower) Save() error {
	if f.opts.LastGood == "" {
		return nil
	}
	f.saving.Lock()
	defer f.saving.Unlock()
	f.saver.look(f.opts.LastGood)
	f.mu.Lock()
	todo := f.unsaved
	f.unsaved = unsaved{}
	all := f.saver.wantsAll(&todo, f.table.Load())
	var held map[Key]struct{}
	if all {
		held = maps.Clone(f.held)
	} else {
		held = heldOf(f.held, todo.keys)
	}
	f.mu.Unlock()
	var err error
	if table := f.table.Load(); all {
		err = f.saver.saveAll(f.opts.LastGood, table, held)
	} else {
		err = f.saver.saveChanges(f.opts.LastGood, todo.keys, table, held)
	}
	if err != nil {
		f.mu.Lock()
		f.unsaved.all()
		f.mu.Unlock()
	}
	return err
}

// writeLastGood reports whether the state is on disk.
func (f *Follower) writeLastGood() bool {
	if err := f.Save(); err != nil {
		f.log.Error("last good routes cannot be written", "file", f.opts.LastGood, "err", err)
		return false
	}
	return true
}
