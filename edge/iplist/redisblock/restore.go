package redisblock

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"gatehouse/edge/iplist"
)

// A scope is lost where this node knows blocks of it, and the set of scopes has not got it: so it is in an emptied Redis, and where somebody has put
// something else in the place of a scope's blocks. Whoever meets that takes the scope out of the set, and nobody puts it there again before
// the key is gone. Then nodes bring back what they know.

// lost are the blocks that this node knows of scopes which are not in the set.
func (s *Store) lost(scopes map[string]struct{}) []iplist.Block {
	return slices.DeleteFunc(s.blocks.List(), func(b iplist.Block) bool {
		_, there := scopes[scopeOf(b.Tenant)]
		return there
	})
}

// whole has a Redis that has lost blocks get them back before one is added or removed there.
func (s *Store) whole(ctx context.Context) error {
	scopes, err := s.client.Patient().SMembersMap(ctx, s.prefix+scopesKey).Result()
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	if lost := s.lost(scopes); len(lost) > 0 {
		_, err = s.restore(ctx, lost)
	}
	return err
}

// spoilt says what to do about a key of another type.
func spoilt(err error) error {
	return fmt.Errorf("%w (delete it, and nodes write their blocks there anew)", err)
}

// spoiltKey is the error of a change that meets a key of another type, which is noted.
func (s *Store) spoiltKey(ctx context.Context, tenant string, err error) error {
	return errors.Join(fmt.Errorf("redis: %s: %w", s.key(tenant), spoilt(err)), s.lose(ctx, tenant))
}

// lose notes that a tenant's key was spoilt.
func (s *Store) lose(ctx context.Context, tenant string) error {
	if err := s.client.Patient().SRem(ctx, s.prefix+scopesKey, scopeOf(tenant)).Err(); err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	return nil
}

// restore writes back those blocks that Redis lacks. It is done whole, or in a Cluster, where keys are of several slots, in an order in
// which the set of scopes comes last: whoever is interrupted, or reads meanwhile, finds the loss still, and repeats it. Blocks of keys that are spoilt
// are left out; done is false if that is all.
func (s *Store) restore(ctx context.Context, lost []iplist.Block) (done bool, err error) {
	spoilt, err := s.spoiltKeys(ctx, lost)
	if err != nil {
		return false, err
	}
	lost = slices.DeleteFunc(lost, func(b iplist.Block) bool { return spoilt[b.Tenant] })
	if len(lost) == 0 {
		return false, nil
	}
	c := s.client.Patient()
	tenants := c.TxPipeline()
	everybodys, last, steps := tenants, tenants, []redis.Pipeliner{tenants}
	if s.client.Cluster() {
		tenants, everybodys, last = c.Pipeline(), c.Pipeline(), c.Pipeline()
		steps = []redis.Pipeliner{tenants, everybodys, last}
	}
	scopes := map[any]struct{}{}
	if !spoilt[""] {
		scopes[everybody] = struct{}{}
	}
	written := make([]*redis.BoolCmd, len(lost))
	for i, b := range lost {
		value, err := valueOf(b)
		if err != nil {
			return false, err
		}
		pipe := tenants
		if b.Tenant == "" {
			pipe = everybodys
		}
		written[i] = pipe.HSetNX(ctx, s.key(b.Tenant), b.Network.String(), value)
		scopes[scopeOf(b.Tenant)] = struct{}{}
	}
	last.SAdd(ctx, s.prefix+scopesKey, slices.Collect(maps.Keys(scopes))...)
	for _, pipe := range steps {
		if err := execute(ctx, pipe); err != nil {
			return false, fmt.Errorf("redis: write the blocks back that it has lost: %w", err)
		}
	}
	count := 0
	for _, one := range written {
		if one.Val() {
			count++
		}
	}
	if count > 0 {
		s.log.Warn("redis has lost blocks: those that this node knows are written back", "redis", s.client.String(), "blocks", count)
	}
	return true, nil
}

// spoiltKeys are the tenants of blocks whose keys are of another type; everybody's is looked at, too.
func (s *Store) spoiltKeys(ctx context.Context, blocks []iplist.Block) (map[string]bool, error) {
	pipe := s.client.Patient().Pipeline()
	lengths := map[string]*redis.IntCmd{"": pipe.HLen(ctx, s.key(""))}
	for _, b := range blocks {
		if lengths[b.Tenant] == nil {
			lengths[b.Tenant] = pipe.HLen(ctx, s.key(b.Tenant))
		}
	}
	if err := execute(ctx, pipe); err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	out := map[string]bool{}
	for tenant, length := range lengths {
		out[tenant] = isWrongType(length.Err())
	}
	return out, nil
}

// execute sends the commands of a pipeline. Keys of another type keep nobody else's from being written.
func execute(ctx context.Context, pipe redis.Pipeliner) error {
	commands, err := pipe.Exec(ctx)
	for _, command := range commands { // why, where err is only that nothing was done
		if one := command.Err(); one != nil && !isWrongType(one) && !errors.Is(one, err) {
			return one
		}
	}
	if isWrongType(err) {
		return nil
	}
	return err
}

// isWrongType reports whether a command met a key of another type. Scripts say where, too, behind it.
func isWrongType(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "WRONGTYPE") }
