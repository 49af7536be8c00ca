package redishealth

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"gatehouse/edge/health"
	"gatehouse/internal/redisconn"
)

// reportLife is how long a process counts that is not heard of any more and has not withdrawn: it may be cut off from Redis, and go on sending
// requests to what is drained meanwhile.
const reportLife = 2 * time.Minute

// A Store is a health.Shared in Redis. It is safe for concurrent use, and holds nothing that would have to be closed.
type Store struct {
	client                            redis.UniversalClient
	drains, down, version, key, nodes string
	nodePrefix, leasePrefix           string
}

var _ health.Shared = (*Store)(nil)

// New makes a Store. Redis may be away.
func New(client *redisconn.Client) *Store {
	prefix := client.Prefix() + "gatehouse:{backends}:"
	return &Store{
		client: client.Patient(),
		drains: prefix + "drains", down: prefix + "down", version: prefix + "version", key: prefix + "key", nodes: prefix + "nodes",
		nodePrefix: prefix + "node:", leasePrefix: prefix + "prober:",
	}
}

// Read implements health.Shared. A finding that is no JSON is left out: somebody has written it by hand. Keys of another type are so, too: that of
// findings keeps no drain away, and that of drains is their loss.
func (s *Store) Read(ctx context.Context, version string) (*health.Snapshot, error) {
	now, err := s.client.Get(ctx, s.version).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, wrap(err)
	}
	if version != "" && now == version {
		return nil, nil
	}
	// The version is read before what it is of: a change in between is read once more, and none is missed.
	var drains, down *redis.MapStringStringCmd
	_, err = s.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		drains, down = pipe.HGetAll(ctx, s.drains), pipe.HGetAll(ctx, s.down)
		return nil
	})
	switch {
	case isWrongType(drains.Err()):
		return nil, s.spoilt(drains.Err(), lose.Run(ctx, s.client, []string{s.drains, s.version}).Err())
	case err != nil && !isWrongType(err):
		return nil, wrap(err)
	}
	out := &health.Snapshot{Version: now, Unread: map[string]error{}, Down: map[string]health.Finding{}}
	if err := down.Err(); err != nil {
		out.DownUnread = fmt.Errorf("%s: %w", s.down, err)
	}
	for key, text := range drains.Val() {
		d, err := parseDrain(key, text)
		if err != nil {
			out.Unread[key] = err
			continue
		}
		out.Drains = append(out.Drains, d)
	}
	for id, text := range down.Val() {
		var f health.Finding
		if json.Unmarshal([]byte(text), &f) == nil {
			out.Down[id] = f
		}
	}
	return out, nil
}

func parseDrain(key, text string) (d health.Drain, err error) {
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return d, err
	}
	if d.Key() != key {
		return d, fmt.Errorf("it is that of %q", d.Key())
	}
	return d, nil
}

// newVersion is a text that no version was before.
func newVersion() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// Tell implements health.Shared.
func (s *Store) Tell(ctx context.Context, findings map[string]*health.Finding) error {
	_, err := s.client.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		for id, f := range findings {
			if f == nil {
				pipe.HDel(ctx, s.down, id)
				continue
			}
			text, err := json.Marshal(f)
			if err != nil {
				return err
			}
			pipe.HSet(ctx, s.down, id, text)
		}
		pipe.SetXX(ctx, s.version, newVersion(), 0)
		return nil
	})
	return wrap(err)
}

// Lease implements health.Shared.
func (s *Store) Lease(ctx context.Context, name, owner string, life time.Duration) (bool, error) {
	held, err := redisconn.Lease(ctx, s.client, s.leasePrefix+name, owner, life)
	return held, wrap(err)
}

// Leased implements health.Shared.
func (s *Store) Leased(ctx context.Context, name string) (bool, error) {
	err := s.client.Get(ctx, s.leasePrefix+name).Err()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	return err == nil, wrap(err)
}

// Release implements health.Shared.
func (s *Store) Release(ctx context.Context, name, owner string) error {
	return wrap(redisconn.Release(ctx, s.client, s.leasePrefix+name, owner))
}

// Change implements health.Shared.
func (s *Store) Change(ctx context.Context, d health.Drain, drained bool) (version string, err error) {
	text := []byte{} // none: undrain
	if drained {
		if text, err = json.Marshal(d); err != nil {
			return "", err
		}
	}
	version = newVersion()
	changed, err := change.Run(ctx, s.client, []string{s.drains, s.version}, d.Key(), text, version).Int()
	if err != nil || changed == 0 {
		return "", s.spoilt(err)
	}
	return version, nil
}

// Restore implements health.Shared.
func (s *Store) Restore(ctx context.Context, drains []health.Drain, down map[string]health.Finding) (version string, err error) {
	version = newVersion()
	args := make([]any, 0, 2+2*(len(drains)+len(down)))
	args = append(args, version, 2*len(drains))
	for _, d := range drains {
		text, err := json.Marshal(d)
		if err != nil {
			return "", err
		}
		args = append(args, d.Key(), text)
	}
	for id, f := range down {
		text, err := json.Marshal(f)
		if err != nil {
			return "", err
		}
		args = append(args, id, text)
	}
	err = restore.Run(ctx, s.client, []string{s.drains, s.down, s.version}, args...).Err()
	return version, s.spoilt(err)
}

// Key implements health.Shared.
func (s *Store) Key(ctx context.Context, fresh health.Key) (health.Key, error) {
	text, err := fresh.MarshalText()
	if err != nil {
		return health.Key{}, err
	}
	made, err := s.client.SetNX(ctx, s.key, text, 0).Result()
	if err != nil || made {
		return fresh, wrap(err)
	}
	there, err := s.client.Get(ctx, s.key).Bytes()
	if err != nil {
		return health.Key{}, wrap(err)
	}
	var key health.Key
	if err := key.UnmarshalText(there); err != nil {
		return health.Key{}, fmt.Errorf("redis: %s: %w (delete it, and nodes make another)", s.key, err)
	}
	return key, nil
}

// Report implements health.Shared.
func (s *Store) Report(ctx context.Context, process string, r health.Report) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = s.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.SAdd(ctx, s.nodes, process)
		pipe.Set(ctx, s.nodePrefix+process, text, reportLife)
		return nil
	})
	return wrap(err)
}

// Withdraw implements health.Shared.
func (s *Store) Withdraw(ctx context.Context, process string) error {
	_, err := s.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Del(ctx, s.nodePrefix+process)
		pipe.SRem(ctx, s.nodes, process)
		return nil
	})
	return wrap(err)
}

// Reports implements health.Shared. Processes that are gone are forgotten.
func (s *Store) Reports(ctx context.Context) (reports map[string]health.Report, unread map[string]error, err error) {
	reports, unread = map[string]health.Report{}, map[string]error{}
	nodes, err := s.client.SMembers(ctx, s.nodes).Result()
	if err != nil || len(nodes) == 0 {
		return reports, unread, wrap(err)
	}
	keys := make([]string, len(nodes))
	for i, node := range nodes {
		keys[i] = s.nodePrefix + node
	}
	values, err := s.client.MGet(ctx, keys...).Result()
	if err != nil {
		return nil, nil, wrap(err)
	}
	for i, value := range values {
		text, there := value.(string)
		if !there {
			if err := s.client.SRem(ctx, s.nodes, nodes[i]).Err(); err != nil {
				return nil, nil, wrap(err)
			}
			continue
		}
		var r health.Report
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			unread[nodes[i]] = fmt.Errorf("redis: %s: %w", keys[i], err)
			continue
		}
		reports[nodes[i]] = r
	}
	return reports, unread, nil
}

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("redis: %w", err)
}
