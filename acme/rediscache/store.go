package rediscache

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"gatehouse/acme"
	"gatehouse/internal/redisconn"
)

// A Store is an acme.Shared in Redis. It is safe for concurrent use, and holds nothing that would have to be closed.
type Store struct {
	client *redisconn.Client
	prefix string
}

var _ acme.Shared = (*Store)(nil)

// New makes a Store. Redis may be away.
func New(client *redisconn.Client) *Store { return &Store{client: client, prefix: client.Prefix()} }

// batch is how many keys are asked for at a time.
const batch = 500

// Read implements acme.Shared.
func (s *Store) Read(ctx context.Context, keys ...string) ([][]byte, error) {
	out := make([][]byte, 0, len(keys))
	err := s.inBatches(keys, func(keys []string) error {
		pipe := s.client.Pipeline()
		found := make([]*redis.StringCmd, len(keys))
		for i, key := range keys {
			found[i] = pipe.Get(ctx, s.prefix+key)
		}
		_, _ = pipe.Exec(ctx) // each command has its own error, and one that failed for all has it, too
		for _, f := range found {
			value, err := f.Bytes()
			switch {
			case isOtherType(err):
				value = []byte{}
			case err != nil && !errors.Is(err, redis.Nil):
				return err
			}
			out = append(out, value)
		}
		return nil
	})
	return out, err
}

// isOtherType reports whether a key has something of another type: that is no value of ours, and no reason to read none of the others. It is read as an
// empty value, and whatever is written takes its place.
func isOtherType(err error) bool { return redis.HasErrorPrefix(err, "WRONGTYPE") }

// Write implements acme.Shared.
func (s *Store) Write(ctx context.Context, key string, value []byte, life time.Duration) error {
	return wrap(s.client.Set(ctx, s.prefix+key, value, life).Err())
}

// Create implements acme.Shared.
func (s *Store) Create(ctx context.Context, key string, value []byte, life time.Duration) ([]byte, error) {
	made, err := s.client.SetNX(ctx, s.prefix+key, value, life).Result()
	if err != nil || made {
		return value, wrap(err)
	}
	there, err := s.client.Get(ctx, s.prefix+key).Bytes()
	if isOtherType(err) {
		return []byte{}, nil
	}
	return there, wrap(err) // gone in between: an error, and the caller comes again
}

// Remove implements acme.Shared.
func (s *Store) Remove(ctx context.Context, keys ...string) error {
	var failed []error
	for _, key := range keys { // one by one: in a Cluster they are of different slots
		failed = append(failed, wrap(s.client.Del(ctx, s.prefix+key).Err()))
	}
	return errors.Join(failed...)
}

// ReadRanked implements acme.Shared.
func (s *Store) ReadRanked(ctx context.Context, keys ...string) ([]acme.Ranked, error) {
	out := make([]acme.Ranked, 0, len(keys))
	err := s.inBatches(keys, func(keys []string) error {
		pipe := s.client.Pipeline()
		found := make([]*redis.SliceCmd, len(keys))
		for i, key := range keys {
			found[i] = pipe.HMGet(ctx, s.prefix+key, fieldValue, fieldRank)
		}
		_, _ = pipe.Exec(ctx) // as in Read
		for _, f := range found {
			fields, err := f.Result()
			switch {
			case isOtherType(err):
				out = append(out, acme.Ranked{Value: []byte{}})
				continue
			case err != nil:
				return err
			}
			out = append(out, ranked(fields))
		}
		return nil
	})
	return out, err
}

const (
	fieldValue = "value"
	fieldRank  = "rank"
)

// ranked reads the two fields. What somebody else wrote there, and is no number, has the lowest rank.
func ranked(fields []any) (r acme.Ranked) {
	if len(fields) != 2 {
		return r
	}
	value, ok := fields[0].(string)
	if !ok {
		return r
	}
	r.Value = []byte(value)
	text, _ := fields[1].(string)
	if rank, err := strconv.ParseUint(text, 10, 53); err == nil {
		r.Rank = rank
	}
	return r
}

// writeRanked writes what has a higher rank than what is there. Ranks have so many digits as the largest, so they compare as texts:
// numbers in Lua lose digits beyond 2^53. What is no such rank, or of another type, is nothing.
var writeRanked = redis.NewScript(`
local there = redis.pcall('HGET', KEYS[1], 'rank')
if type(there) == 'table' then
  if not string.find(there.err, 'WRONGTYPE', 1, true) then
    return there
  end
  redis.call('DEL', KEYS[1])
  there = nil
end
if there and #there == #ARGV[2] and string.find(there, '^%d+$') and there < '00009007199254740992' and there >= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[1], 'value', ARGV[1], 'rank', ARGV[2], 'not_after', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
`)

// WriteRanked implements acme.Shared.
func (s *Store) WriteRanked(ctx context.Context, key string, value acme.Ranked, life time.Duration) (written bool, err error) {
	if life <= 0 {
		return false, nil
	}
	n, err := writeRanked.Run(ctx, s.client, []string{s.prefix + key}, rankedArgs(value, life)...).Int()
	return n == 1, wrap(err)
}

// replace writes what takes the place of one value.
var replace = redis.NewScript(`
if redis.call('HGET', KEYS[1], 'value') ~= ARGV[5] then
  return 0
end
redis.call('HSET', KEYS[1], 'value', ARGV[1], 'rank', ARGV[2], 'not_after', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
`)

// Replace implements acme.Shared.
func (s *Store) Replace(ctx context.Context, key string, there []byte, value acme.Ranked, life time.Duration) (written bool, err error) {
	if life <= 0 {
		return false, nil
	}
	n, err := replace.Run(ctx, s.client, []string{s.prefix + key}, append(rankedArgs(value, life), there)...).Int()
	return n == 1, wrap(err)
}

// rankedArgs are what the scripts write.
func rankedArgs(value acme.Ranked, life time.Duration) []any {
	until := time.Unix(int64(value.Rank&(1<<36-1)), 0).UTC().Format(time.RFC3339)
	return []any{value.Value, fmt.Sprintf("%020d", value.Rank), until, life.Milliseconds()}
}

// Lease implements acme.Shared.
func (s *Store) Lease(ctx context.Context, key, owner string, life time.Duration) (bool, error) {
	held, err := redisconn.Lease(ctx, s.client, s.prefix+key, owner, life)
	return held, wrap(err)
}

// Release implements acme.Shared.
func (s *Store) Release(ctx context.Context, key, owner string) error {
	return wrap(redisconn.Release(ctx, s.client, s.prefix+key, owner))
}

// take counts within a window. What is over does not count, and does not make the window longer. One that ends later than any that begins now, or never,
// is somebody else's doing, and ends with that.
var take = redis.NewScript(`
local n = tonumber(redis.call('GET', KEYS[1]) or '0')
if n >= tonumber(ARGV[1]) then
  local left = redis.call('PTTL', KEYS[1])
  if left < 0 or left > tonumber(ARGV[2]) then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    left = tonumber(ARGV[2])
  end
  return left
end
if redis.call('INCR', KEYS[1]) == 1 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return -3
`)

// Take implements acme.Shared.
func (s *Store) Take(ctx context.Context, key string, most int, window time.Duration) (wait time.Duration, err error) {
	left, err := take.Run(ctx, s.client, []string{s.prefix + key}, most, window.Milliseconds()).Int64()
	switch {
	case err != nil:
		return 0, wrap(err)
	case left == -3:
		return 0, nil
	}
	return max(time.Duration(left)*time.Millisecond, time.Millisecond), nil
}

// giveBack takes back one of a count. One that has ended, or is no count, stays as it is.
var giveBack = redis.NewScript(`
local n = redis.pcall('GET', KEYS[1])
if type(n) == 'string' and string.find(n, '^%d+$') and tonumber(n) > 0 then
  redis.call('DECR', KEYS[1])
end
return 1
`)

// GiveBack implements acme.Shared.
func (s *Store) GiveBack(ctx context.Context, key string) error {
	return wrap(giveBack.Run(ctx, s.client, []string{s.prefix + key}).Err())
}

func (s *Store) inBatches(keys []string, f func([]string) error) error {
	for len(keys) > 0 {
		n := min(len(keys), batch)
		if err := f(keys[:n]); err != nil {
			return wrap(err)
		}
		keys = keys[n:]
	}
	return nil
}

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("redis: %w", err)
}
