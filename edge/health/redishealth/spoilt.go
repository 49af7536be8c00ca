package redishealth

import (
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Somebody may put something else in the place of the drains, and with that they are gone. When he takes it away there is nothing, which must not look
// as if all had been undrained: so whoever meets it takes the version away, and nobody makes one before it is mended. Then all is lost, and
// nodes bring back what they know.

// loseIfSpoilt is the beginning of scripts: KEYS[2] is the version of what KEYS[1] should have had.
const loseIfSpoilt = `
local function lose_if_spoilt(got)
  if type(got) == 'table' and got.err and string.find(got.err, 'WRONGTYPE', 1, true) then
    redis.call('DEL', KEYS[2])
  end
end
`

var (
	// lose takes the version away if the drains are still of another type.
	lose = redis.NewScript(loseIfSpoilt + `
lose_if_spoilt(redis.pcall('HGETALL', KEYS[1]))
return 0
`)
	// change sets a field, or without a value removes it, and makes a new version where there is one.
	change = redis.NewScript(loseIfSpoilt + `
local done
if ARGV[2] == '' then
  done = redis.pcall('HDEL', KEYS[1], ARGV[1])
else
  done = redis.pcall('HSET', KEYS[1], ARGV[1], ARGV[2])
end
lose_if_spoilt(done)
if type(done) == 'table' and done.err then
  return done
end
if redis.call('SET', KEYS[2], ARGV[3], 'XX') then
  return 1
end
return 0
`)
	// restore sets fields of drains, of which there are ARGV[2] arguments, and of findings, and makes a version. Findings of another type are left:
	// they keep no drain away.
	restore = redis.NewScript(`
local there = redis.pcall('HGETALL', KEYS[1])
if there.err then
  return there
end
local last = 2 + tonumber(ARGV[2])
for i = 3, last, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
for i = last + 1, #ARGV, 2 do
  local done = redis.pcall('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  if type(done) == 'table' and done.err and not string.find(done.err, 'WRONGTYPE', 1, true) then
    return done
  end
end
redis.call('SET', KEYS[3], ARGV[1])
return 1
`)
)

// spoilt wraps the errors of what needs the drains, and says what to do about a wrong type.
func (s *Store) spoilt(err error, more ...error) error {
	if !isWrongType(err) {
		return wrap(err)
	}
	return errors.Join(append([]error{fmt.Errorf("redis: %s: %w (delete it, and nodes write their drains there anew)", s.drains, err)}, more...)...)
}

func isWrongType(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "WRONGTYPE") }
