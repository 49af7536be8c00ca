package acme

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"
)

// memory is a Shared of this process, for faults that have to be forced and clocks that are not ours. Nothing in it ends but leases and counts.
type memory struct {
	mu     sync.Mutex
	values map[string][]byte
	ranked map[string]Ranked
	leases map[string]memoryLease
	counts map[string]memoryCount
	away   bool
}

type memoryCount struct {
	n     int
	until time.Time
}

type memoryLease struct {
	owner string
	until time.Time
}

func newMemory() *memory {
	return &memory{values: map[string][]byte{}, ranked: map[string]Ranked{}, leases: map[string]memoryLease{}, counts: map[string]memoryCount{}}
}

var errAway = errors.New("away")

func (m *memory) setAway(away bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = away
}

// enter takes the lock, unless what is shared is away.
func (m *memory) enter() error {
	m.mu.Lock()
	if m.away {
		m.mu.Unlock()
		return errAway
	}
	return nil
}

func (m *memory) Read(_ context.Context, keys ...string) ([][]byte, error) {
	if err := m.enter(); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	out := make([][]byte, len(keys))
	for i, key := range keys {
		out[i] = m.values[key]
	}
	return out, nil
}

func (m *memory) Write(_ context.Context, key string, value []byte, _ time.Duration) error {
	if err := m.enter(); err != nil {
		return err
	}
	defer m.mu.Unlock()
	m.values[key] = value
	return nil
}

func (m *memory) Create(_ context.Context, key string, value []byte, _ time.Duration) ([]byte, error) {
	if err := m.enter(); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	if m.values[key] == nil {
		m.values[key] = value
	}
	return m.values[key], nil
}

func (m *memory) Remove(_ context.Context, keys ...string) error {
	if err := m.enter(); err != nil {
		return err
	}
	defer m.mu.Unlock()
	for _, key := range keys {
		delete(m.values, key)
		delete(m.ranked, key)
	}
	return nil
}

func (m *memory) ReadRanked(_ context.Context, keys ...string) ([]Ranked, error) {
	if err := m.enter(); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	out := make([]Ranked, len(keys))
	for i, key := range keys {
		out[i] = m.ranked[key]
	}
	return out, nil
}

func (m *memory) WriteRanked(_ context.Context, key string, value Ranked, _ time.Duration) (bool, error) {
	if err := m.enter(); err != nil {
		return false, err
	}
	defer m.mu.Unlock()
	if old, ok := m.ranked[key]; ok && old.Rank >= value.Rank {
		return false, nil
	}
	m.ranked[key] = value
	return true, nil
}

func (m *memory) Replace(_ context.Context, key string, there []byte, value Ranked, _ time.Duration) (bool, error) {
	if err := m.enter(); err != nil {
		return false, err
	}
	defer m.mu.Unlock()
	if old, ok := m.ranked[key]; !ok || !bytes.Equal(old.Value, there) {
		return false, nil
	}
	m.ranked[key] = value
	return true, nil
}

func (m *memory) Lease(_ context.Context, key, owner string, life time.Duration) (bool, error) {
	if err := m.enter(); err != nil {
		return false, err
	}
	defer m.mu.Unlock()
	if has := m.leases[key]; has.owner != owner && time.Now().Before(has.until) {
		return false, nil
	}
	m.leases[key] = memoryLease{owner, time.Now().Add(life)}
	return true, nil
}

func (m *memory) Release(_ context.Context, key, owner string) error {
	if err := m.enter(); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if m.leases[key].owner == owner {
		delete(m.leases, key)
	}
	return nil
}

func (m *memory) Take(_ context.Context, key string, most int, window time.Duration) (time.Duration, error) {
	if err := m.enter(); err != nil {
		return 0, err
	}
	defer m.mu.Unlock()
	c := m.counts[key]
	switch left := time.Until(c.until); {
	case left <= 0:
		c = memoryCount{until: time.Now().Add(window)}
	case c.n >= most:
		return left, nil
	}
	c.n++
	m.counts[key] = c
	return 0, nil
}

func (m *memory) GiveBack(_ context.Context, key string) error {
	if err := m.enter(); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if c := m.counts[key]; c.n > 0 {
		c.n--
		m.counts[key] = c
	}
	return nil
}

func (m *memory) Announce(context.Context, string) error { return nil }

func (m *memory) Follow(ctx context.Context, _ func(string), missed func()) error {
	missed()
	<-ctx.Done()
	return ctx.Err()
}
