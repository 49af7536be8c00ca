package redisblock

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"gatehouse/edge/iplist"
	"gatehouse/internal/redisconn"
)

const (
	// pingEvery is how often an idle connection is tried, so that a hung server is noticed.
	pingEvery = 5 * time.Second
	// rereadEvery is how often all scopes are read again, whatever the server told.
	rereadEvery = 30 * time.Second
	// settle gathers what several commands in a row change.
	settle = 25 * time.Millisecond
	// pollEvery is how often they are read where changes are not told.
	pollEvery = 500 * time.Millisecond

	firstBackOff, lastBackOff = 100 * time.Millisecond, 2 * time.Second
)

// A field is one block as it was read.
type field struct{ network, value string }

// A state is what Redis has, by tenant.
type state map[string][]field

// Run follows Redis until ctx ends, and returns nil.
func (s *Store) Run(ctx context.Context) error {
	backOff, said := firstBackOff, false
	for ctx.Err() == nil {
		f := follower{store: s, bad: map[field]bool{}}
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

// A follower follows one connection.
type follower struct {
	store  *Store
	read   func(tenants []string) (state, error)
	scopes func() ([]string, error) // as scopesKey has them
	known  state
	bad    map[field]bool // fields that were logged
	synced bool
}

func (f *follower) follow(ctx context.Context) error {
	if f.store.client.Cluster() {
		return f.poll(ctx)
	}
	s := f.store
	conn, err := s.client.Dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	refusal, err := conn.Track(s.prefix+keyBegin, s.prefix+scopesKey)
	if err != nil {
		return fmt.Errorf("follow changes: %w", err)
	}
	if refusal != nil {
		s.log.Warn("redis does not tell of changes: blocks are polled", "redis", s.client.String(), "err", refusal)
		return f.poll(ctx)
	}
	f.read, f.scopes = s.readBy(conn), s.scopesBy(conn)
	if err := f.full(ctx); err != nil {
		return err
	}
	s.log.Info("blocks in redis are followed", "redis", s.client.String(), "blocks", s.blocks.Len())
	last := time.Now()
	for {
		pushes, err := conn.Pushes(pingEvery, settle)
		if err != nil {
			return err
		}
		switch {
		case time.Since(last) >= rereadEvery:
			last, err = time.Now(), f.full(ctx)
		case len(pushes) == 0:
			err = conn.Ping()
		default:
			err = f.changed(ctx, pushes)
		}
		if err != nil {
			return err
		}
	}
}

// poll follows a Cluster, or a server that tells of nothing, by asking.
func (f *follower) poll(ctx context.Context) error {
	s := f.store
	f.read, f.scopes = s.readAsked(ctx), func() ([]string, error) { return s.client.SMembers(ctx, s.prefix+scopesKey).Result() }
	for {
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

// full reads all scopes. A Redis that has none although this node knows blocks has lost them: they are written back.
func (f *follower) full(ctx context.Context) error {
	s := f.store
	scopes, err := f.scopes()
	if err != nil {
		return err
	}
	tenants := []string{""}
	for _, scope := range scopes {
		if tenant, ok := s.tenantOf(s.prefix + keyBegin + scope + keyEnd); ok && tenant != "" {
			tenants = append(tenants, tenant)
		}
	}
	read, err := f.read(tenants)
	if err != nil {
		return err
	}
	known := s.blocks.List()
	if len(scopes) == 0 && len(read[""]) == 0 && len(known) > 0 {
		s.log.Warn("redis has lost the blocks: those that this node knows are written back", "redis", s.client.String(), "blocks", len(known))
		for _, b := range known {
			if err := s.Add(ctx, b); err != nil {
				return err
			}
		}
		return f.full(ctx)
	}
	for _, tenant := range tenants {
		if before, ok := f.known[tenant]; ok && read[tenant] == nil { // its key cannot be read
			read[tenant] = before
		}
	}
	f.known = read
	f.apply(ctx)
	return nil
}

// changed acts on invalidations.
func (f *follower) changed(ctx context.Context, pushes []redisconn.Reply) error {
	s := f.store
	var tenants []string
	for i := range pushes {
		kind, keys := pushes[i].Kind()
		if kind != "invalidate" {
			continue
		}
		if keys.Null || pushes[i].TooLarge { // no list of keys means all of them: FLUSHALL, FLUSHDB
			return f.full(ctx)
		}
		for _, key := range keys.Items {
			if tenant, ok := s.tenantOf(key.Text); ok {
				tenants = append(tenants, tenant)
			}
		}
	}
	if len(tenants) == 0 {
		return nil
	}
	read, err := f.read(tenants)
	if err != nil {
		return err
	}
	for tenant, fields := range read {
		if len(f.known[tenant]) == 0 && len(fields) > 0 { // somebody may have written it by hand, and knows of no other key
			if err := s.client.SAdd(ctx, s.prefix+scopesKey, scopeOf(tenant)).Err(); err != nil {
				return err
			}
		}
		f.known[tenant] = fields
	}
	f.apply(ctx)
	return nil
}

// apply brings what is known into force, and removes from Redis what is over.
func (f *follower) apply(ctx context.Context) {
	s := f.store
	var blocks []iplist.Block
	now := time.Now()
	for tenant, fields := range f.known {
		for _, one := range fields {
			b, err := blockOf(tenant, one.network, one.value)
			switch {
			case err != nil && !f.bad[one]:
				f.bad[one] = true
				s.log.Error("block in redis not usable", "key", s.key(tenant), "field", shorten(one.network), "err", err)
			case err != nil:
			case b.Over(now.Add(-overFor)):
				// Another node may do it at the same time, and an error is the next reading's to meet.
				_ = dropSame.Run(ctx, s.client, []string{s.key(tenant)}, one.network, one.value).Err()
			default:
				blocks = append(blocks, b)
			}
		}
	}
	s.blocks.Replace(blocks)
	f.synced = true
	s.followed.Store(true)
}

func shorten(text string) string {
	if len(text) > 60 {
		return text[:60] + "…"
	}
	return text
}

// readBy reads scopes over a connection. A key that somebody has made another type, or filled with megabytes, is left out: the
// others act.
func (s *Store) readBy(conn *redisconn.Conn) func([]string) (state, error) {
	return func(tenants []string) (state, error) {
		commands := make([][]string, len(tenants))
		for i, tenant := range tenants {
			commands[i] = []string{"HGETALL", s.key(tenant)}
		}
		replies, err := conn.Do(commands...)
		if err != nil {
			return nil, err
		}
		out := state{}
		for i := range replies {
			r := &replies[i]
			err := r.Err()
			if r.TooLarge {
				err = errors.New("it is too large")
			}
			switch {
			case err == nil:
			case r.TooLarge || isWrongType(err):
				s.log.Error("blocks in redis not usable", "key", s.key(tenants[i]), "err", err)
				continue
			default:
				return nil, fmt.Errorf("redis: read %s: %w", s.key(tenants[i]), err)
			}
			out[tenants[i]] = []field{}
			for j := 0; j+1 < len(r.Items); j += 2 {
				out[tenants[i]] = append(out[tenants[i]], field{r.Items[j].Text, r.Items[j+1].Text})
			}
		}
		return out, nil
	}
}

func (s *Store) scopesBy(conn *redisconn.Conn) func() ([]string, error) {
	return func() ([]string, error) {
		replies, err := conn.Must([]string{"SMEMBERS", s.prefix + scopesKey})
		if err != nil {
			return nil, err
		}
		var out []string
		for _, item := range replies[0].Items {
			out = append(out, item.Text)
		}
		return out, nil
	}
}

// readAsked reads scopes by the client that all share.
func (s *Store) readAsked(ctx context.Context) func([]string) (state, error) {
	return func(tenants []string) (state, error) {
		pipe := s.client.Pipeline()
		found := make([]*redis.MapStringStringCmd, len(tenants))
		for i, tenant := range tenants {
			found[i] = pipe.HGetAll(ctx, s.key(tenant))
		}
		_, _ = pipe.Exec(ctx) // its error is that of one of the commands
		out := state{}
		for i, tenant := range tenants {
			if err := found[i].Err(); isWrongType(err) {
				s.log.Error("blocks in redis not usable", "key", s.key(tenant), "err", err)
				continue
			} else if err != nil {
				return nil, fmt.Errorf("redis: %w", err)
			}
			out[tenant] = []field{}
			for network, value := range found[i].Val() {
				out[tenant] = append(out[tenant], field{network, value})
			}
		}
		return out, nil
	}
}

func isWrongType(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "WRONGTYPE") }
