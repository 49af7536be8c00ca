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

// whole has a Redis that has lost blocks get them back before the set of scopes, by whose absence that is known, is written.
func (s *Store) whole(ctx context.Context) error {
	n, err := s.client.Patient().Exists(ctx, s.prefix+scopesKey).Result()
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	if known := s.blocks.List(); n == 0 && len(known) > 0 {
		return s.restore(ctx, known)
	}
	return nil
}

// restore writes back those blocks that Redis lacks. It is done whole, or in a Cluster, where keys are of several slots, in an order in
// which the set of scopes comes last: whoever is interrupted, or reads meanwhile, finds the loss still, and repeats it.
func (s *Store) restore(ctx context.Context, known []iplist.Block) error {
	c := s.client.Patient()
	tenants := c.TxPipeline()
	everybodys, last, steps := tenants, tenants, []redis.Pipeliner{tenants}
	if s.client.Cluster() {
		tenants, everybodys, last = c.Pipeline(), c.Pipeline(), c.Pipeline()
		steps = []redis.Pipeliner{tenants, everybodys, last}
	}
	scopes := map[any]struct{}{everybody: {}}
	written := make([]*redis.BoolCmd, len(known))
	for i, b := range known {
		value, err := valueOf(b)
		if err != nil {
			return err
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
			return fmt.Errorf("redis: write the blocks back that it has lost: %w", err)
		}
	}
	count := 0
	for _, one := range written {
		if one.Val() {
			count++
		}
	}
	if count > 0 {
		s.log.Warn("redis has lost the blocks: those that this node knows are written back", "redis", s.client.String(), "blocks", count)
	}
	return nil
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

func isWrongType(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "WRONGTYPE") }
