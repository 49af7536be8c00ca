package health

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"
)

// memory is a Shared of nodes in one process. The zero value is an emptied one.
type memory struct {
	mu      sync.Mutex
	writes  int
	version string
	drains  map[string]Drain
	down    map[string]Finding
	keys    []Key // none or one
	leases  map[string]held
	reports map[string]Report
}

type held struct {
	owner string
	until time.Time
}

func (m *memory) next() string {
	m.writes++
	return fmt.Sprint("version ", m.writes)
}

func (m *memory) init() {
	if m.drains == nil {
		m.drains, m.down = map[string]Drain{}, map[string]Finding{}
		m.leases, m.reports = map[string]held{}, map[string]Report{}
	}
}

// empty loses all.
func (m *memory) empty() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.version, m.drains, m.down, m.keys, m.leases, m.reports = "", nil, nil, nil, nil, nil
}

func (m *memory) findings() map[string]Finding {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.down)
}

func (m *memory) Read(_ context.Context, version string) (*Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if version != "" && version == m.version {
		return nil, nil
	}
	out := &Snapshot{Version: m.version, Down: maps.Clone(m.down)}
	for _, d := range m.drains {
		out.Drains = append(out.Drains, d)
	}
	return out, nil
}

func (m *memory) Change(_ context.Context, d Drain, drained bool) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.init()
	if drained {
		m.drains[d.Key()] = d
	} else {
		delete(m.drains, d.Key())
	}
	if m.version != "" {
		m.version = m.next()
	}
	return m.version, nil
}

func (m *memory) Restore(_ context.Context, drains []Drain, down map[string]Finding) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.init()
	for _, d := range drains {
		m.drains[d.Key()] = d
	}
	maps.Copy(m.down, down)
	m.version = m.next()
	return m.version, nil
}

func (m *memory) Key(_ context.Context, fresh Key) (Key, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.keys) == 0 {
		m.keys = []Key{fresh}
	}
	return m.keys[0], nil
}

func (m *memory) Lease(_ context.Context, name, owner string, life time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.init()
	if h := m.leases[name]; h.owner != owner && time.Now().Before(h.until) {
		return false, nil
	}
	m.leases[name] = held{owner, time.Now().Add(life)}
	return true, nil
}

func (m *memory) Leased(_ context.Context, name string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Now().Before(m.leases[name].until), nil
}

func (m *memory) Release(_ context.Context, name, owner string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.leases[name].owner == owner {
		delete(m.leases, name)
	}
	return nil
}

func (m *memory) Tell(_ context.Context, findings map[string]*Finding) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.init()
	for id, f := range findings {
		if f == nil {
			delete(m.down, id)
		} else {
			m.down[id] = *f
		}
	}
	if m.version != "" {
		m.version = m.next()
	}
	return nil
}

func (m *memory) Report(_ context.Context, node string, r Report) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.init()
	m.reports[node] = r
	return nil
}

func (m *memory) Withdraw(_ context.Context, process string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.reports, process)
	return nil
}

func (m *memory) Reports(context.Context) (map[string]Report, map[string]error, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.reports), nil, nil
}
