package redisblock

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"time"

	"gatehouse/edge/iplist"
	"gatehouse/internal/redisconn"
)

const (
	// pingEvery is how often the connections are tried, so that a hung server is noticed, and another master.
	pingEvery = 5 * time.Second
	// rereadEvery is how often all scopes are read again, whatever the server told.
	rereadEvery = 30 * time.Second
	// settle gathers what several commands in a row change.
	settle = 25 * time.Millisecond
	// pollEvery is how often they are read where changes are not told.
	pollEvery = 500 * time.Millisecond
	// dropMost is how many blocks that are over are removed from Redis at a time.
	dropMost = 1000

	firstBackOff, lastBackOff = 100 * time.Millisecond, 2 * time.Second
)

// Run follows Redis until ctx ends, and returns nil.
func (s *Store) Run(ctx context.Context) error {
	backOff, said := firstBackOff, false
	for ctx.Err() == nil {
		f := follower{store: s}
		err := f.follow(ctx)
		s.followed.Store(false)
		if ctx.Err() != nil {
			break
		}
		if f.synced {
			backOff, said = firstBackOff, false
		}
		if !said {
			s.log.Error("blocks in redis are not followed: the last known ones stay in force", "redis", s.client.String(), "err", err)
			said = true
		}
		select {
		case <-ctx.Done():
		case <-time.After(backOff):
		}
		backOff = min(2*backOff, lastBackOff)
	}
	return nil
}

// A follower follows one session.
type follower struct {
	store   *Store
	session *redisconn.Session
	known   state
	synced  bool
}

func (f *follower) follow(ctx context.Context) (err error) {
	s := f.store
	if f.session, err = s.client.Session(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.session.Close()) }()
	if s.client.Cluster() {
		return f.poll(ctx)
	}
	conns, err := f.session.Dial(ctx)
	if err != nil {
		return err
	}
	conn := conns[0]
	defer conn.Close()
	refusal, err := conn.Track(s.prefix+keyBegin, s.prefix+scopesKey)
	if err != nil {
		return fmt.Errorf("follow changes: %w", err)
	}
	if refusal != nil {
		s.log.Warn("redis does not tell of changes: blocks are polled", "redis", s.client.String(), "err", refusal)
		return f.poll(ctx)
	}
	if err := f.full(ctx); err != nil {
		return err
	}
	s.log.Info("blocks in redis are followed", "redis", s.client.String(), "blocks", s.blocks.Len())
	return f.told(ctx, conn)
}

// told acts on what the server tells of.
func (f *follower) told(ctx context.Context, conn *redisconn.Conn) error {
	read, checked := time.Now(), time.Now()
	for {
		pushes, err := conn.Pushes(f.store.pingEvery, settle)
		if err != nil {
			return err
		}
		if time.Since(checked) >= f.store.pingEvery {
			checked = time.Now()
			if err := errors.Join(conn.Ping(), f.session.Check()); err != nil {
				return err
			}
		}
		again := time.Since(read) >= rereadEvery
		if again {
			read = time.Now()
		}
		if err := f.changed(ctx, pushes, again); err != nil {
			return err
		}
	}
}

// poll follows a Cluster, or a server that tells of nothing, by asking.
func (f *follower) poll(ctx context.Context) error {
	checked := time.Now()
	for {
		if time.Since(checked) >= f.store.pingEvery {
			checked = time.Now()
			if err := f.session.Check(); err != nil {
				return err
			}
		}
		if err := f.full(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pollEvery):
		}
	}
}

// full reads all scopes and applies them.
func (f *follower) full(ctx context.Context) error { return f.alone(ctx, f.readAll) }

// alone reads and applies with nobody adding or removing a block meanwhile: what was read before that would undo it. Then it removes
// from Redis what is over.
func (f *follower) alone(ctx context.Context, read func(context.Context) error) error {
	s := f.store
	if err := s.lock(ctx); err != nil {
		return err
	}
	var over state
	err := read(ctx)
	if err == nil {
		over = f.apply()
	}
	s.unlock()
	if err == nil {
		s.drop(ctx, over)
	}
	return err
}

// readAll reads all scopes. Of those that Redis has lost the blocks that this node knows are written back.
func (f *follower) readAll(ctx context.Context) error {
	s := f.store
	for range 3 {
		scopes, err := f.scopes()
		if err != nil {
			return err
		}
		lost := s.lost(scopes)
		if len(lost) > 0 {
			done, err := s.restore(ctx, slices.Clone(lost))
			if err != nil {
				return err
			}
			if done {
				continue
			}
		}
		tenants := []string{""}
		for scope := range scopes {
			if tenant, ok := s.tenantOf(s.prefix + keyBegin + scope + keyEnd); ok {
				tenants = append(tenants, tenant)
			}
		}
		for _, b := range lost { // of keys that are spoilt
			tenants = append(tenants, b.Tenant)
		}
		tenants = slices.AppendSeq(tenants, maps.Keys(s.said))
		slices.Sort(tenants)
		if f.known, err = f.read(slices.Compact(tenants)); err != nil {
			return err
		}
		return f.noteScopes(ctx, scopes)
	}
	return fmt.Errorf("redis: %s is gone as soon as it is written", s.prefix+scopesKey)
}

// noteScopes has the set of scopes, as it was read, fit to what is known: it lacks what was written by hand, and must not have what is spoilt.
func (f *follower) noteScopes(ctx context.Context, scopes map[string]struct{}) (err error) {
	s := f.store
	for tenant, fields := range f.known {
		_, in := scopes[scopeOf(tenant)]
		switch {
		case in && fields == nil && isWrongType(s.said[tenant]):
			err = errors.Join(err, s.lose(ctx, tenant))
		case !in && len(fields) > 0:
			err = errors.Join(err, s.noteScope(ctx, tenant))
		}
	}
	return err
}

// changed acts on invalidations, and reads all scopes again if they or the caller want it. The scopes that were named are read behind
// that: they may be new, and written by somebody who knows of no set of scopes.
func (f *follower) changed(ctx context.Context, pushes []redisconn.Reply, all bool) error {
	s := f.store
	var tenants []string
	for i := range pushes {
		kind, keys := pushes[i].Kind()
		if kind != "invalidate" {
			continue
		}
		if keys.Null || pushes[i].TooLarge { // no list of keys means all of them: FLUSHALL, FLUSHDB
			all = true
		}
		for _, key := range keys.Items {
			if key.Text == s.prefix+scopesKey { // a new scope, or all are lost
				all = true
			}
			if tenant, ok := s.tenantOf(key.Text); ok {
				tenants = append(tenants, tenant)
			}
		}
	}
	if all {
		if err := f.full(ctx); err != nil {
			return err
		}
	}
	if len(tenants) == 0 {
		return nil
	}
	return f.alone(ctx, func(ctx context.Context) error { return f.readSome(ctx, tenants) })
}

func (f *follower) readSome(ctx context.Context, tenants []string) error {
	s := f.store
	if slices.ContainsFunc(tenants, func(tenant string) bool { return s.said[tenant] != nil }) {
		return f.readAll(ctx) // it may be mended, and then it is not its blocks that are gone
	}
	slices.Sort(tenants)
	read, err := f.read(slices.Compact(tenants))
	if err != nil {
		return err
	}
	for tenant, fields := range read {
		switch {
		case isWrongType(s.said[tenant]):
			err = errors.Join(err, s.lose(ctx, tenant))
		case len(f.known[tenant]) == 0 && len(fields) > 0: // somebody may have written it by hand, and knows of no other key
			err = errors.Join(err, s.noteScope(ctx, tenant))
		}
		f.known[tenant] = fields
	}
	return err
}

// apply brings what is known into force, and returns what is over.
func (f *follower) apply() (over state) {
	s := f.store
	var blocks []iplist.Block
	over, overs := state{}, 0
	var faults []Fault
	bad, spelled := map[uint64]bool{}, map[place][]string{}
	now := time.Now()
	for tenant, fields := range f.known {
		if fields == nil { // what is in force stays
			blocks = append(blocks, s.inForce(tenant)...)
			faults = append(faults, Fault{Key: s.key(tenant), Tenant: tenant, Err: s.said[tenant]})
		}
		for _, one := range fields {
			b, err := blockOf(tenant, one.network, one.value)
			if err == nil && b.Network.String() != one.network {
				at := place{tenant, b.Network}
				spelled[at] = append(spelled[at], one.network)
			}
			switch {
			case err != nil:
				faults = append(faults, Fault{s.key(tenant), tenant, one.network, err})
				id := maphash.Comparable(s.seed, [3]string{tenant, one.network, one.value})
				if bad[id] = true; !s.bad[id] {
					s.log.Error("block in redis not usable", "key", s.key(tenant), "field", shorten(one.network), "err", err)
				}
			case !b.Over(now.Add(-overFor)):
				blocks = append(blocks, b)
			case overs < dropMost:
				overs++
				over[tenant] = append(over[tenant], one)
			}
		}
	}
	s.bad, s.spelled = bad, spelled
	left := s.blocks.Replace(blocks)
	if left > 0 && !s.surplus {
		s.log.Error("redis has too many blocks: the last ones do not act", "redis", s.client.String(), "most", iplist.MaxBlocks, "left", left)
	}
	s.surplus = left > 0
	if s.surplus {
		faults = append(faults, Fault{Err: fmt.Errorf("there are more than %d blocks: the last %d do not act", iplist.MaxBlocks, left)})
	}
	s.setFaults(faults)
	f.synced = true
	s.followed.Store(true)
	return over
}

// inForce are a tenant's blocks that act here.
func (s *Store) inForce(tenant string) []iplist.Block {
	return slices.DeleteFunc(s.blocks.List(), func(b iplist.Block) bool { return b.Tenant != tenant })
}

// drop removes from Redis what is over. Another node may do it at the same time, and what fails the next reading meets.
func (s *Store) drop(ctx context.Context, over state) {
	pipe := s.client.Pipeline()
	for tenant, fields := range over {
		args := make([]any, 0, 2*len(fields))
		for _, one := range fields {
			args = append(args, one.network, one.value)
		}
		dropSame.Eval(ctx, pipe, []string{s.key(tenant)}, args...)
	}
	_, _ = pipe.Exec(ctx)
}

func shorten(text string) string {
	if len(text) > 60 {
		return text[:60] + "…"
	}
	return text
}
