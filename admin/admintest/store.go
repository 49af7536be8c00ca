// Package admintest has the parts that tests of the operator's API need: a store
// of routes in memory, with switches for faults, and a node around it that
// answers on a real unix socket. It is for tests only. Start with Start.
package admintest

import (
	"context"
	"maps"
	"slices"
	"sync"

	"gatehouse/routes"
)

// Store is a routes.Store in memory. Use NewStore.
type Store struct {
	mu      sync.Mutex
	docs    map[routes.Key]routes.Document
	changes []routes.Change
	wake    chan struct{}
	putErr  error
	deaf    bool
	asked   int           // how often Where was called
	lost    chan struct{} // closed once the watcher was told that all is gone; nil: it is not
}

var _ routes.Store = (*Store)(nil)

// NewStore returns a store that holds the documents of a file of routes.
// Documents that are bad are in it as they are.
func NewStore(yaml string) *Store {
	s := &Store{docs: map[routes.Key]routes.Document{}, wake: make(chan struct{}, 1)}
	docs, problems := routes.ParseFile("routes.yaml", []byte(yaml))
	if len(problems) > 0 {
		panic(problems)
	}
	for _, doc := range docs {
		s.docs[doc.Key] = doc
	}
	return s
}

// FailPuts makes every Put fail with err; nil ends that.
func (s *Store) FailPuts(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putErr = err
}

// Deafen makes changes reach the store and not its watcher, as a source that lost
// its connection would.
func (s *Store) Deafen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deaf = true
}

// Lose takes everything out of the store at once, as FLUSHALL does, and waits until its watcher has been told.
func (s *Store) Lose() {
	told := make(chan struct{})
	s.mu.Lock()
	clear(s.docs)
	s.lost, s.changes = told, nil
	s.woken()
	s.mu.Unlock()
	<-told
}

// Document returns what the store holds.
func (s *Store) Document(key routes.Key) (routes.Document, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	doc, ok := s.docs[key]
	return doc, ok
}

// Load implements routes.Source.
func (s *Store) Load(context.Context) (routes.Batch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := routes.Batch{Full: true, Trusted: true}
	for doc := range maps.Values(s.docs) {
		b.Changes = append(b.Changes, doc.Change())
	}
	return b, nil
}

// Watch implements routes.Source.
func (s *Store) Watch(ctx context.Context, yield func(routes.Batch)) error {
	first, err := s.Load(ctx)
	if err != nil {
		return err
	}
	for yield(first); ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.wake:
		}
		s.mu.Lock()
		changes := slices.Clone(s.changes)
		lost := s.lost
		s.changes, s.lost = nil, nil
		s.mu.Unlock()
		if yield(routes.Batch{Changes: changes, Full: lost != nil}); lost != nil {
			close(lost)
		}
	}
}

// Up implements routes.Source.
func (s *Store) Up() error { return nil }

// Put implements routes.Store.
func (s *Store) Put(ctx context.Context, doc routes.Document) error {
	return s.Edit(ctx, doc.Key, func(routes.Change) (routes.Document, error) { return doc, nil })
}

// Edit implements routes.Store.
func (s *Store) Edit(_ context.Context, key routes.Key, change func(routes.Change) (routes.Document, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	present := routes.Change{Key: key}
	if have, ok := s.docs[key]; ok {
		present = have.Change()
	}
	doc, err := change(present)
	if err == nil {
		err = s.putErr
	}
	if err != nil {
		return err
	}
	s.docs[key] = doc
	s.changed(doc.Change())
	return nil
}

// Delete implements routes.Store.
func (s *Store) Delete(_ context.Context, key routes.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.docs[key]; !ok {
		return routes.ErrNotFound
	}
	delete(s.docs, key)
	s.changed(routes.Change{Key: key})
	return nil
}

// Where implements routes.Store.
func (s *Store) Where(_ context.Context, key routes.Key) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	return s.place(key)
}

// Asked returns how often Where was called.
func (s *Store) Asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// place is that of a document, with mu held.
func (s *Store) place(key routes.Key) string {
	if _, ok := s.docs[key]; !ok {
		return ""
	}
	return "memory:" + key.Kind.String() + ":" + key.Name
}

// Places implements routes.Store.
func (s *Store) Places() func(routes.Key) string {
	return func(key routes.Key) string {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.place(key)
	}
}

func (s *Store) changed(c routes.Change) {
	if s.deaf {
		return
	}
	s.changes = append(s.changes, c)
	s.woken()
}

func (s *Store) woken() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
