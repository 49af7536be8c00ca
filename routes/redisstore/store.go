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
	// Logger tells when Redis is lost and found again; nil discards.
	Logger *slog.Logger
}

// A Store is a routes.Store in Redis. Safe for concurrent use.
type Store struct {
	client *redisconn.Client
	writer redis.UniversalClient // of Put and Delete: a verb waits for them, and no request does
	prefix string
	log    *slog.Logger
	odd    oddKeys
	up     atomic.Pointer[error]

	pingEvery time.Duration
}

var _ routes.Store = (*Store)(nil)

var errNotFollowed = errors.New("redis: not connected yet")

// Open returns a store over a client that the caller closes after the store's
// last use. Redis may be away. A client of a Redis Cluster is refused.
func Open(client *redisconn.Client, opts Options) (*Store, error) {
	if client.Cluster() {
		return nil, errors.New("routes in a Redis Cluster are not supported yet: " +
			"name a single Redis (redis://) or Sentinels (redis+sentinel://) in routes; redis: may be a Cluster")
	}
	s := &Store{client: client, writer: client.Patient(), prefix: opts.Prefix, log: opts.Logger, pingEvery: pingEvery}
	if s.prefix == "" {
		s.prefix = client.Prefix()
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.setUp(errNotFollowed)
	return s, nil
}

// Up returns nil while the store is followed by Watch, else why it is not.
func (s *Store) Up() error { return *s.up.Load() }

func (s *Store) setUp(err error) { s.up.Store(&err) }

// Load reads every document once. The batch is trusted: who asks for it wants to
// see what there is.
func (s *Store) Load(ctx context.Context) (routes.Batch, error) {
	conn, err := s.client.Dial(ctx)
	if err != nil {
		return routes.Batch{}, err
	}
	r := reader{prefix: s.prefix, conn: conn, odd: new(oddKeys)}
	batch, err := r.all()
	batch.Trusted = true
	return batch, errors.Join(err, conn.Close())
}
