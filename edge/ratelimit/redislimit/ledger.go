package redislimit

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"gatehouse/edge/ratelimit"
	"gatehouse/internal/redisconn"
)

const (
	// active is how long a node that has reported a bucket counts as one that takes from it.
	active = time.Second
	// forgotten is how long a node that was not heard of counts.
	forgotten = 15 * time.Second
	// keep is how long a bucket that is full is kept, so that it is known who takes from it.
	keep = 2 * time.Second
	// callTimeout bounds a round: the client bounds each command, and a Cluster's round has many.
	callTimeout = 2 * redisconn.CallTimeout
)

// A Ledger is a ratelimit.Ledger in Redis. It is safe for concurrent use, and holds nothing that would have to be closed.
type Ledger struct {
	client *redisconn.Client
	prefix string
	node   string
}

var _ ratelimit.Ledger = (*Ledger)(nil)

// New makes a Ledger. Redis may be away. The node's name is for those who read the keys: what tells processes of one name
// apart, as while one takes over from another, is added to it.
func New(client *redisconn.Client, node string) *Ledger {
	var nonce [6]byte
	_, _ = rand.Read(nonce[:]) // never fails (crypto/rand)
	return &Ledger{client: client, prefix: client.Prefix() + "limit:{", node: node + "/" + hex.EncodeToString(nonce[:])}
}

// settle has a bucket pay for what a node has taken. The tokens were taken in a time, in which the bucket was refilled: what it owes is
// counted from the beginning of that, unless others have taken more. KEYS: buckets. ARGV: the node, how long it counts (µs), how long a
// full bucket is kept (ms); then of each bucket the time for a token, the most that it may owe, tokens, and the time in which they were
// taken (µs). It returns of each what it owes (µs) and how many nodes take from it. Numbers are written out: Lua has 1e+15 for them.
var settle = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local out = {}
for i, key in ipairs(KEYS) do
  local at = 4 * i
  local interval, most = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local taken, over = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local fields = redis.pcall('HGETALL', key)
  if fields.err then
    redis.call('DEL', key)
    fields = {}
  end
  local full, nodes = 0, 1
  for j = 1, #fields, 2 do
    local name, value = fields[j], tonumber(fields[j + 1]) or 0
    if name == 'full' then
      full = value
    elseif name ~= ARGV[1] then
      if value > now - ARGV[2] and value <= now + ARGV[2] then
        nodes = nodes + 1
      else
        redis.call('HDEL', key, name)
      end
    end
  end
  full = math.min(math.max(full, now - over) + taken * interval, now + most)
  redis.call('HSET', key, 'full', string.format('%.0f', full), ARGV[1], string.format('%.0f', now))
  redis.call('PEXPIRE', key, string.format('%.0f', math.max(full - now, 0) / 1000 + ARGV[3]))
  out[2 * i - 1] = string.format('%.0f', math.max(full - now, 0))
  out[2 * i] = nodes
end
return out
`)

// Settle implements ratelimit.Ledger. It is one round trip, or two after a restart of Redis, which has forgotten the script.
func (l *Ledger) Settle(ctx context.Context, reports []ratelimit.Report) ([]ratelimit.Standing, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	calls := l.calls(reports)
	err := l.run(ctx, calls, func(p redis.Pipeliner, c *call) *redis.Cmd { return settle.EvalSha(ctx, p, c.keys, c.args...) })
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		err = l.run(ctx, calls, func(p redis.Pipeliner, c *call) *redis.Cmd { return settle.Eval(ctx, p, c.keys, c.args...) })
	}
	out := make([]ratelimit.Standing, len(reports))
	failed := []error{err}
	for _, c := range calls {
		failed = append(failed, c.read(out))
	}
	return out, errors.Join(failed...)
}

// A call is the script for one owner.
type call struct {
	keys    []string
	args    []any
	reports []int // by index
	answer  *redis.Cmd
}

func (l *Ledger) calls(reports []ratelimit.Report) []*call {
	var calls []*call
	of := map[string]*call{}
	for i, r := range reports {
		c := of[r.Owner]
		if c == nil {
			c = &call{args: []any{l.node, active.Microseconds(), keep.Milliseconds()}}
			of[r.Owner] = c
			calls = append(calls, c)
		}
		c.reports = append(c.reports, i)
		c.keys = append(c.keys, l.prefix+r.Owner+"}:"+fmt.Sprintf("%016x", r.Key))
		c.args = append(c.args, micros(r.Rate.Interval()), micros(r.MostOwed()), r.Taken, micros(r.Over))
	}
	return calls
}

// micros is a time in microseconds, with what is below one.
func micros(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Microsecond), 'f', -1, 64)
}

// run sends the calls that have no answer yet.
func (l *Ledger) run(ctx context.Context, calls []*call, send func(redis.Pipeliner, *call) *redis.Cmd) error {
	pipe := l.client.Pipeline()
	for _, c := range calls {
		if c.answer == nil || c.answer.Err() != nil {
			c.answer = send(pipe, c)
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("settle rate limits: %w", err)
	}
	return nil
}

// read brings the answers to where they belong.
func (c *call) read(out []ratelimit.Standing) error {
	values, err := c.answer.Slice()
	if err != nil {
		return nil // run has returned it
	}
	if len(values) != 2*len(c.reports) {
		return fmt.Errorf("settle rate limits: %d answers to %d reports", len(values), len(c.reports))
	}
	for i, report := range c.reports {
		text, _ := values[2*i].(string)
		owed, err := strconv.ParseInt(text, 10, 64)
		nodes, ok := values[2*i+1].(int64)
		if err != nil || !ok || owed < 0 || nodes < 1 {
			return fmt.Errorf("settle rate limits: %v, %v is no answer", values[2*i], values[2*i+1])
		}
		out[report] = ratelimit.Standing{Owed: time.Duration(owed) * time.Microsecond, Nodes: int(nodes)}
	}
	return nil
}

// there notes a node, forgets those that were not heard of, and counts. ARGV: the node, how long it counts (ms).
var there = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
`)

// Nodes implements ratelimit.Ledger.
func (l *Ledger) Nodes(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	n, err := there.Run(ctx, l.client, []string{l.prefix + "nodes}"}, l.node, forgotten.Milliseconds()).Int()
	if err != nil {
		return 0, fmt.Errorf("count the nodes that share rate limits: %w", err)
	}
	return n, nil
}

// Leave has the node no longer counted, when it ends.
func (l *Ledger) Leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := l.client.ZRem(ctx, l.prefix+"nodes}", l.node).Err(); err != nil {
		return fmt.Errorf("leave the nodes that share rate limits: %w", err)
	}
	return nil
}
