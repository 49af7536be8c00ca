package redispurge

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"gatehouse/cache"
	"gatehouse/internal/redisconn"
)

const (
	// BlindAfter is how long a node may be without the stream before it reuses what is stored for cache.BlindReuse at most
	// (purge_blind_max). A purge that it does not hear of acts there within about that time, but for what may be stale.
	BlindAfter = 30 * time.Second
	// Forgotten is how long a node that is not heard of is waited for: longer than what it could serve of what was purged.
	Forgotten = 2 * time.Minute

	// streamLength is about how many purges the stream keeps: what a node may miss and still catch up with.
	streamLength = 10_000
	// readCount is how many entries are read at a time.
	readCount = 500
	// readBlock is how long a read waits for an entry, readGrace how much longer Redis may take to say that there is none.
	readBlock = 2 * time.Second
	readGrace = time.Second
	// beatEvery is how often a node says that it is there, and makes sure that it has missed nothing.
	beatEvery = 4 * time.Second

	firstBackOff, lastBackOff = 50 * time.Millisecond, time.Second
)

// A Store is where purges act: a cache.Store.
type Store interface {
	Purge(cache.Purge) (seq uint64)
	SetBlind(bool)
}

// Options configure a Node. Client, Store and Node are required.
type Options struct {
	Client *redisconn.Client
	Store  Store
	// Node is the name that answers have.
	Node string
	// After is the ID of the last entry that what is stored has been through (Applied, when it was saved). Empty: nothing
	// is stored yet, and reading begins at the end.
	After string
	// Logger; nil discards.
	Logger *slog.Logger
	// Registerer; nil leaves the metrics unregistered.
	Registerer prometheus.Registerer
}

// A Node applies the purges of all nodes to one store. It is safe for concurrent use.
type Node struct {
	client  redis.UniversalClient
	store   Store
	log     *slog.Logger
	name    string
	member  string // the name and what tells processes of one name apart, as while one takes over from another
	keys    keys
	metrics *metrics

	blindAfter time.Duration

	// What the goroutine of Run has alone.
	last   position
	beaten time.Time // when the last beat was
	heard  time.Time // when the node was last in step
	blind  bool
	down   bool // said to be
	mute   bool // Redis refuses acknowledgements

	applied   atomic.Pointer[string] // last.id for others
	began     atomic.Pointer[origin] // nil: where it was told to
	published published
	peers     peers
}

// A position in the stream is that of an entry that is known to have been in it.
type position struct {
	id    string
	nonce string // of the entry; empty: not known
}

// An origin is a position in the stream from which a node has begun, and the purge of all that it had stored before.
type origin struct {
	id  string
	seq uint64
}

type keys struct{ stream, nodes, node string }

// New makes a node. Redis may be away.
func New(o Options) (*Node, error) {
	if o.Client == nil || o.Store == nil || o.Node == "" {
		return nil, errors.New("redispurge: client, store and node are needed")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	prefix := o.Client.Prefix() + "gatehouse:{purge}:"
	n := &Node{
		client: o.Client.Patient(), store: o.Store, log: o.Logger, name: o.Node,
		keys: keys{prefix + "stream", prefix + "nodes", prefix + "node:"}, blindAfter: BlindAfter,
	}
	n.member = n.name + "/" + nonce()
	n.setLast(position{id: o.After})
	var err error
	n.metrics, err = newMetrics(o.Registerer)
	return n, err
}

// nonce is a text that nothing else has.
func nonce() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// Applied is the ID of the last entry that was applied; empty: none was yet. Whoever saves what is stored asks for it first.
func (n *Node) Applied() string { return *n.applied.Load() }

// Since is cache.SavedStore.Since for what another process, which shares the Redis, has stored, and whose Applied was this: 0
// unless it had applied all that came before this node began to read.
func (n *Node) Since(applied string) uint64 {
	if o := n.began.Load(); o != nil && reaches(applied, o.id) {
		return o.seq
	}
	return 0
}

// StartAt is Options.After for who learns of it later. It is called before Run.
func (n *Node) StartAt(id string) { n.setLast(position{id: id}) }

func (n *Node) setLast(p position) {
	n.last = p
	n.applied.Store(&p.id)
}

// Run reads purges and applies them until ctx ends, and returns ctx's error. It ends within readBlock and readGrace; at once if
// Redis answers. It is called once.
func (n *Node) Run(ctx context.Context) error {
	n.heard = time.Now()
	woken := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(woken)
		n.wakeUp()
	})
	backOff := firstBackOff
	for ctx.Err() == nil {
		begin := time.Now()
		err := n.follow(ctx)
		if ctx.Err() != nil {
			break
		}
		n.lost(err)
		if n.heard.After(begin) {
			backOff = firstBackOff
		}
		select {
		case <-ctx.Done():
		case <-time.After(backOff):
		}
		backOff = min(2*backOff, lastBackOff)
	}
	<-woken
	n.leave()
	n.metrics.following.Set(0)
	return ctx.Err()
}

// lost notes that the stream cannot be followed at present.
func (n *Node) lost(err error) {
	n.metrics.following.Set(0)
	n.beaten = time.Time{}
	if !n.down {
		n.down = true
		n.log.Error("purges of other nodes are not followed", "err", err)
	}
	if !n.blind && time.Since(n.heard) > n.blindAfter {
		n.blind = true
		n.store.SetBlind(true)
	}
}

// inStep notes that all that is in the stream was applied.
func (n *Node) inStep() {
	n.heard = time.Now()
	n.metrics.following.Set(1)
	if n.blind {
		n.blind = false
		n.store.SetBlind(false)
	}
	if n.down {
		n.down = false
		n.log.Info("purges of other nodes are followed again", "applied", n.last.id)
	}
}

// follow reads on until something fails.
func (n *Node) follow(ctx context.Context) error {
	block := time.Duration(-1) // until it is in step
	for ctx.Err() == nil {
		if time.Since(n.beaten) >= beatEvery {
			if err := n.beat(ctx); err != nil {
				return err
			}
		}
		entries, err := n.read(ctx, block)
		if err != nil {
			return err
		}
		for _, e := range entries {
			n.apply(e)
		}
		if len(entries) > 0 {
			if err := n.passed(ctx, entries); err != nil {
				return err
			}
		}
		if len(entries) < readCount {
			n.inStep()
			if err := n.published.again(ctx, n, n.published.missing()); err != nil {
				return err
			}
			block = readBlock
		}
	}
	return nil
}

// read reads the entries after the last one; none if none came in time.
func (n *Node) read(ctx context.Context, block time.Duration) ([]redis.XMessage, error) {
	limited, cancel := context.WithTimeout(ctx, max(block, 0)+readGrace)
	defer cancel()
	streams, err := n.client.XRead(limited, &redis.XReadArgs{Streams: []string{n.keys.stream, n.last.id}, Count: readCount, Block: block}).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read purges: %w", err)
	case len(streams) != 1:
		return nil, fmt.Errorf("read purges: %d streams in place of one", len(streams))
	}
	return streams[0].Messages, nil
}

func (n *Node) apply(e redis.XMessage) {
	p, ok := decode(e.Values)
	n.published.seen(text(e.Values, fieldNonce))
	if !ok {
		return
	}
	n.store.Purge(p)
	if !p.Kind.Known() {
		n.log.Warn("a purge of a kind that is not known here: all of its vhost, its tenant, or everything is purged", "id", e.ID, "kind", string(p.Kind),
			"tenant", p.Tenant, "vhost", p.Vhost, "node", text(e.Values, fieldNode), "by", text(e.Values, fieldBy))
	}
	n.log.Debug("purge applied", "id", e.ID, "kind", string(p.Kind), "arg", p.Arg, "tenant", p.Tenant, "vhost", p.Vhost, "soft", p.Soft,
		"node", text(e.Values, fieldNode), "by", text(e.Values, fieldBy))
}

// passed moves on to the last of the entries that were applied, and says so. An entry of the stream is gone only after all before
// it are: if the one that was read on from is still there, none was missed.
func (n *Node) passed(ctx context.Context, entries []redis.XMessage) error {
	before := n.last
	e := entries[len(entries)-1]
	n.setLast(position{e.ID, text(e.Values, fieldNonce)})
	return n.confirm(ctx, before)
}

// beat says that the node is there, and makes sure that nothing was missed.
func (n *Node) beat(ctx context.Context) error {
	if n.last.id == "" {
		return n.begin(ctx)
	}
	return n.confirm(ctx, n.last)
}
