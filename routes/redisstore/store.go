package redisstore

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"gatehouse/internal/redisconn"
	"gatehouse/routes"
)

// Options configure a Store. The zero value is usable.
type Options struct {
	// Prefix stands before every key; empty: that of the client's URL.
	Prefix string
	// InUse is called where a server does not tell of changes and routes are polled. Nil: only passes over everything find changes.
	InUse InUse
	// Logger tells when Redis is lost and found again; nil discards.
	Logger *slog.Logger
}

// An InUse begins to tell what has to be followed within a second also where there are too many documents to read all: those of the hosts
// that are asked for. look is called from one goroutine, until it has called end; its slices become the store's: documents that
// routes have, and such as may come into being, of hosts that have none.
type InUse func() (look func() (documents, hosts []routes.Key), end func())

// A Store is a routes.Store in Redis. Safe for concurrent use.
type Store struct {
	client *redisconn.Client
	writer redis.UniversalClient // of Put and Delete: a verb waits for them, and no request does
	prefix string
	log    *slog.Logger
	odd    oddKeys
	up     atomic.Pointer[error]
	inUse  InUse

	progress  atomic.Pointer[string] // of the first reading of a session; nil: there is none under way
	evictions evictions              // of Watch
	removed   *removals

	pingEvery  time.Duration
	maxWaiting int // keys in an inbox
}

var _ routes.Store = (*Store)(nil)

var errNotFollowed = errors.New("redis: not connected yet")

// Open returns a store over a client that the caller closes after the store's
// last use. Redis may be away.
func Open(client *redisconn.Client, opts Options) (*Store, error) {
	s := &Store{client: client, writer: client.Patient(), prefix: opts.Prefix, log: opts.Logger, pingEvery: pingEvery, maxWaiting: maxWaiting, inUse: opts.InUse, removed: newRemovals()}
	if s.prefix == "" {
		s.prefix = client.Prefix()
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.setUp(errNotFollowed)
	return s, nil
}

// Up returns nil while the store is followed by Watch, else why it is not, or how far the reading is that comes first.
func (s *Store) Up() error {
	err := *s.up.Load()
	if progress := s.progress.Load(); err != nil && progress != nil {
		return errors.New("redis: reading routes: " + *progress)
	}
	return err
}

// tell says how far the first reading is.
func (s *Store) tell(progress string) { s.progress.Store(&progress) }

func (s *Store) setUp(err error) { s.up.Store(&err) }

// Load reads every document once. The batch is trusted: who asks for it wants to
// see what there is.
func (s *Store) Load(ctx context.Context) (routes.Batch, error) {
	session, err := s.client.Session(ctx)
	if err != nil {
		return routes.Batch{}, err
	}
	r := reader{prefix: s.prefix, session: session, odd: new(oddKeys)}
	batch, err := r.all()
	batch.Trusted = true
	return batch, errors.Join(err, session.Close())
}
