package redisblock

import (
	"errors"
	"fmt"
	"strconv"

	"gatehouse/edge/iplist"
	"gatehouse/internal/redisconn"
)

// A field is one block as it was read.
type field struct{ network, value string }

// A state is what Redis has, by tenant: nil is a key that cannot be read.
type state map[string][]field

func (f *follower) scopes() (map[string]struct{}, error) {
	key := f.store.prefix + scopesKey
	replies, err := f.session.Do([]string{"SMEMBERS", key})
	if err != nil {
		return nil, err
	}
	if err := replies[0].Err(); err != nil {
		return nil, fmt.Errorf("redis: read %s: %w", key, err)
	}
	if replies[0].TooLarge {
		return nil, fmt.Errorf("redis: read %s: %w", key, errTooLarge)
	}
	out := map[string]struct{}{}
	for _, item := range replies[0].Items {
		out[item.Text] = struct{}{}
	}
	return out, nil
}

// read reads the scopes of tenants. A key that somebody has made another type, or filled with too much, is nil: the others act.
func (f *follower) read(tenants []string) (state, error) {
	s := f.store
	lengths, err := f.ask("HLEN", tenants) // first: a reply of millions of fields is none that could be read over
	if err != nil {
		return nil, err
	}
	out := state{}
	var some []string
	for i, tenant := range tenants {
		ok, err := s.usable(tenant, &lengths[i])
		if err != nil {
			return nil, err
		}
		n, _ := strconv.Atoi(lengths[i].Text)
		switch {
		case !ok:
			out[tenant] = nil
		case n > iplist.MaxBlocks:
			out[tenant] = nil
			s.unusable(tenant, fmt.Errorf("it has %d fields: %d at most", n, iplist.MaxBlocks))
		default:
			out[tenant] = []field{}
			some = append(some, tenant)
		}
	}
	hashes, err := f.ask("HGETALL", some)
	if err != nil {
		return nil, err
	}
	for i, tenant := range some {
		ok, err := s.usable(tenant, &hashes[i])
		if err != nil {
			return nil, err
		}
		if !ok {
			out[tenant] = nil
			continue
		}
		delete(s.said, tenant)
		for items := hashes[i].Items; len(items) >= 2; items = items[2:] {
			out[tenant] = append(out[tenant], field{items[0].Text, items[1].Text})
		}
	}
	return out, nil
}

// ask sends a command about each tenant's key.
func (f *follower) ask(command string, tenants []string) ([]redisconn.Reply, error) {
	if len(tenants) == 0 {
		return nil, nil
	}
	commands := make([][]string, len(tenants))
	for i, tenant := range tenants {
		commands[i] = []string{command, f.store.key(tenant)}
	}
	return f.session.Do(commands...)
}

var errTooLarge = errors.New("it is too large")

// usable reports whether a reply about a tenant's key is of use. The error is Redis', not the key's.
func (s *Store) usable(tenant string, r *redisconn.Reply) (bool, error) {
	err := r.Err()
	switch {
	case r.TooLarge:
		s.unusable(tenant, errTooLarge)
	case isWrongType(err):
		s.unusable(tenant, spoilt(err))
	case err != nil:
		return false, fmt.Errorf("redis: read %s: %w", s.key(tenant), err)
	default:
		return true, nil
	}
	return false, nil
}

// unusable says once of a key that it cannot be read.
func (s *Store) unusable(tenant string, err error) {
	was := s.said[tenant]
	if s.said[tenant] = err; was == nil {
		s.log.Error("blocks in redis not usable", "key", s.key(tenant), "err", err)
	}
}
