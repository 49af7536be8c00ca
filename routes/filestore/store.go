package filestore

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"gatehouse/routes"
)

// Options configure a Store. The zero value is usable.
type Options struct {
	// Logger tells when the folder is lost and found again; nil discards.
	Logger *slog.Logger
}

// A Store is a routes.Store in a folder. Safe for concurrent use.
type Store struct {
	dir string
	log *slog.Logger
	up  atomic.Pointer[error]
	// served is the file of each document that is in force, by Watch's last look.
	served atomic.Pointer[map[routes.Key]string]

	writing sync.Mutex // one Put or Delete at a time

	mu    sync.Mutex
	files map[string]*file // what was read, by name
	seen  placed           // for Where, which is asked for every document of a list
}

// placed is a view and what it was made of.
type placed struct {
	view   *view
	files  []*file
	served *map[routes.Key]string
}

var _ routes.Store = (*Store)(nil)

// Open reads the folder once and removes what writers that were killed left in it,
// when that is more than a minute old. It fails if the folder cannot be read; files that
// are bad are no error here, but problems of Load's batch.
func Open(dir string, opts Options) (*Store, error) {
	s := &Store{dir: dir, log: opts.Logger, files: map[string]*file{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	_, err := s.scan()
	s.setUp(err)
	if err != nil {
		return nil, err
	}
	s.sweep()
	return s, nil
}

// Up returns nil if the folder could be read when it was last looked at.
func (s *Store) Up() error { return *s.up.Load() }

func (s *Store) setUp(err error) { s.up.Store(&err) }

// Load reads all files. The batch is Incomplete if one of them is bad as a whole.
func (s *Store) Load(ctx context.Context) (routes.Batch, error) {
	if err := ctx.Err(); err != nil {
		return routes.Batch{}, err
	}
	files, err := s.scan()
	if err != nil {
		return routes.Batch{}, err
	}
	return gather(files, s.serving()).full(), nil
}

// serving returns the file of each document that is in force; nil before Watch.
func (s *Store) serving() map[routes.Key]string {
	if m := s.served.Load(); m != nil {
		return *m
	}
	return nil
}

// Where returns FILE:LINE of the document that is in force, or "".
func (s *Store) Where(_ context.Context, key routes.Key) string { return s.Places()(key) }

// Places looks at the folder once for all documents.
func (s *Store) Places() func(routes.Key) string {
	files, err := s.scan()
	if err != nil {
		return func(routes.Key) string { return "" }
	}
	entries := s.placedView(files).entries
	return func(key routes.Key) string {
		if e := entries[key]; e != nil {
			return e.place
		}
		return ""
	}
}

// placedView gathers the files again only if one of them has changed.
func (s *Store) placedView(files []*file) *view {
	s.mu.Lock()
	defer s.mu.Unlock()
	served := s.served.Load()
	if s.seen.view == nil || s.seen.served != served || !slices.Equal(s.seen.files, files) {
		var serving map[routes.Key]string
		if served != nil {
			serving = *served
		}
		s.seen = placed{view: gather(files, serving), files: files, served: served}
	}
	return s.seen.view
}
