package redisblock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"gatehouse/edge/iplist"
	"gatehouse/internal/redisconn"
	"gatehouse/routes"
)

const (
	keyBegin, keyEnd = "block:{", "}"
	everybody        = "*" // the scope of blocks without tenant: no tenant can have that name
	// scopesKey has the scopes that ever had a block. What is absent there, Redis has lost: nobody may write it before all
	// that he knows of it is there again, see lost.
	scopesKey = "gatehouse:{block}:scopes"
)

// Options of a Store.
type Options struct {
	Client *redisconn.Client
	// Blocks get what Redis has.
	Blocks *iplist.Blocks
	// Registerer gets gatehouse_address_blocks_followed. Nil registers nothing.
	Registerer prometheus.Registerer
	// Logger receives what is wrong. Nil discards.
	Logger *slog.Logger
}

// A Store adds and removes blocks, and brings those of all nodes to this one. It is safe for concurrent use.
type Store struct {
	client   *redisconn.Client
	prefix   string
	blocks   *iplist.Blocks
	log      *slog.Logger
	followed atomic.Bool
	faults   atomic.Pointer[[]Fault]
	// pingEvery is the constant, unless a test has no time.
	pingEvery time.Duration

	// turn has one of those who read Redis and apply it, or write there and change it here, go before the other; see lock.
	turn chan struct{}
	// What is logged already, with turn: tenants whose keys cannot be read, and why; fields.
	said    map[string]error
	bad     map[uint64]bool
	surplus bool
	seed    maphash.Seed
	// spelled has fields that name a network in another way than a node writes it, as they were read, likewise.
	spelled map[place][]string
}

// A place is where a block is.
type place struct {
	tenant  string
	network netip.Prefix
}

// otherFields are fields that may have a block beside the one that a node writes: somebody has written them by hand. All are the same block.
func (s *Store) otherFields(network netip.Prefix, tenant string) []string {
	fields := s.spelled[place{tenant, network}]
	if network.IsSingleIP() { // also where it was not read yet
		fields = append(slices.Clip(fields), network.Addr().String())
	}
	return fields
}

func (s *Store) lock(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) unlock() { <-s.turn }

// New makes a Store. Redis may be away.
func New(o Options) (*Store, error) {
	s := &Store{
		client: o.Client, prefix: o.Client.Prefix(), blocks: o.Blocks, log: o.Logger, pingEvery: pingEvery,
		turn: make(chan struct{}, 1), said: map[string]error{}, seed: maphash.MakeSeed(),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if o.Registerer == nil {
		return s, nil
	}
	return s, o.Registerer.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gatehouse_address_blocks_followed", Help: "1 while blocks of other nodes are heard of.",
	}, func() float64 {
		if s.followed.Load() {
			return 1
		}
		return 0
	}))
}

// Followed reports whether blocks of other nodes are heard of.
func (s *Store) Followed() bool { return s.followed.Load() }

// add sets a field of a hash that is not too large, in the place of others.
var add = redis.NewScript(`
for i = 4, #ARGV do
  redis.call('HDEL', KEYS[1], ARGV[i])
end
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) and redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
`)

// Add puts a block in force on all nodes, in the place of one with the same network and tenant: here when it returns, elsewhere
// within a second. After an error it is not in Redis, or that is not known.
func (s *Store) Add(ctx context.Context, b iplist.Block) error {
	if err := b.Check(); err != nil {
		return err
	}
	value, err := valueOf(b)
	if err != nil {
		return err
	}
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.unlock()
	if err := s.whole(ctx); err != nil {
		return err
	}
	if err := s.blocks.Room(b); err != nil { // the script knows of one scope
		return err
	}
	if err := s.noteScope(ctx, b.Tenant); err != nil { // first: a scope that nobody knows is read by nobody
		return err
	}
	args := []any{b.Network.String(), value, iplist.MaxBlocks}
	for _, field := range s.otherFields(b.Network, b.Tenant) {
		args = append(args, field)
	}
	n, err := add.Run(ctx, s.client.Patient(), []string{s.key(b.Tenant)}, args...).Int()
	switch {
	case isWrongType(err):
		return s.spoiltKey(ctx, b.Tenant, err)
	case err != nil:
		return fmt.Errorf("redis: %w", err)
	case n == 0:
		return iplist.ErrTooMany
	}
	return s.blocks.AddShared(b)
}

// Remove ends a block on all nodes, and reports whether there was one; see Add.
func (s *Store) Remove(ctx context.Context, network netip.Prefix, tenant string) (was bool, err error) {
	if err := s.lock(ctx); err != nil {
		return false, err
	}
	defer s.unlock()
	if err := s.whole(ctx); err != nil {
		return false, err
	}
	fields := append([]string{network.String()}, s.otherFields(network, tenant)...)
	n, err := s.client.Patient().HDel(ctx, s.key(tenant), fields...).Result()
	if isWrongType(err) {
		return false, s.spoiltKey(ctx, tenant, err)
	}
	if err != nil {
		return false, fmt.Errorf("redis: %w", err)
	}
	_, err = s.blocks.RemoveShared(network, tenant)
	return n > 0, err
}

// noteScope adds a tenant's scope to those that there are.
func (s *Store) noteScope(ctx context.Context, tenant string) error {
	if err := s.client.Patient().SAdd(ctx, s.prefix+scopesKey, scopeOf(tenant)).Err(); err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	return nil
}

func scopeOf(tenant string) string {
	if tenant == "" {
		return everybody
	}
	return tenant
}

func (s *Store) key(tenant string) string { return s.prefix + keyBegin + scopeOf(tenant) + keyEnd }

// tenantOf is whose blocks a key has; false: it is none of ours.
func (s *Store) tenantOf(key string) (tenant string, ok bool) {
	scope, ok := strings.CutPrefix(key, s.prefix+keyBegin)
	if scope, ok = cut(scope, ok); !ok {
		return "", false
	}
	if scope == everybody {
		return "", true
	}
	return scope, routes.CheckTenantName(scope) == nil
}

func cut(scope string, ok bool) (string, bool) {
	if !ok {
		return "", false
	}
	return strings.CutSuffix(scope, keyEnd)
}

// valueOf is the value of a block's field, which has the network, as its key the tenant.
func valueOf(b iplist.Block) (string, error) {
	record := b.Record()
	record.Network, record.Tenant = "", ""
	value, err := json.Marshal(record)
	return string(value), err
}

// maxValue bounds a field and its value, in bytes: a note and two times are less.
const maxValue = 4 << 10

// blockOf reads a field. By hand, an empty value will do: a block until it is removed.
func blockOf(tenant, network, value string) (iplist.Block, error) {
	var record iplist.BlockRecord
	if len(value) > maxValue {
		return iplist.Block{}, errors.New("the value is too large")
	}
	if value != "" {
		if err := json.Unmarshal([]byte(value), &record); err != nil {
			return iplist.Block{}, fmt.Errorf(`want JSON such as {"until": "2027-01-01T00:00:00Z", "note": "…"}, or nothing: %w`, err)
		}
	}
	record.Network, record.Tenant = network, tenant
	return record.Block()
}

// dropSame removes fields that have still the values that were read, which are given in turn.
var dropSame = redis.NewScript(`
local n = 0
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    n = n + redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return n
`)

// overFor is for how long a block must be over before a node removes it: clocks differ.
const overFor = time.Minute
