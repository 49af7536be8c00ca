package redisconn

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// lease takes a key that is free or has the owner already. One that somebody else wrote, which would never end, ends as a lease does; what is of
// another type is none.
var lease = redis.NewScript(`
local there = redis.pcall('GET', KEYS[1])
if type(there) == 'table' then
  if not string.find(there.err, 'WRONGTYPE', 1, true) then
    return there
  end
  there = nil
end
if there and there ~= ARGV[1] then
  local left = redis.call('PTTL', KEYS[1])
  if left < 0 or left > tonumber(ARGV[2]) then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
  end
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`)

// release gives a key back that has the owner.
var release = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
`)

// Lease takes the lease at a key for an owner, who may have it already, and reports whether he has it. It ends after life, which whoever works on
// renews by another call.
func Lease(ctx context.Context, client redis.Scripter, key, owner string, life time.Duration) (bool, error) {
	n, err := lease.Run(ctx, client, []string{key}, owner, life.Milliseconds()).Int()
	return n == 1, err
}

// Release gives a lease back, if the owner still has it.
func Release(ctx context.Context, client redis.Scripter, key, owner string) error {
	return release.Run(ctx, client, []string{key}, owner).Err()
}
