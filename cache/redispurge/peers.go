package redispurge

import (
	"maps"
	"sync"
	"time"
)

// peers are the other nodes as Redis last had them. A Redis that has lost its data does not know any more who is there: whoever is
// not heard of since may still serve what is purged now, and is waited for all the same.
type peers struct {
	mu   sync.Mutex
	seen map[string]time.Time // members, and when Redis had them
	lost map[string]time.Time // those that Redis has forgotten
}

// note takes what Redis has, unless it has lost anything: who is not there any more has left.
func (p *peers) note(members []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = make(map[string]time.Time, len(members))
	for _, member := range members {
		p.seen[member] = time.Now()
		delete(p.lost, member)
	}
}

// lose notes that Redis has lost its data.
func (p *peers) lose() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lost == nil {
		p.lost = map[string]time.Time{}
	}
	maps.Copy(p.lost, p.seen)
}

// missing returns those that Redis has lost and that are not among members, and when they were last seen.
func (p *peers) missing(members []string) map[string]time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, member := range members {
		delete(p.lost, member)
	}
	maps.DeleteFunc(p.lost, func(_ string, seen time.Time) bool { return time.Since(seen) >= Forgotten })
	return maps.Clone(p.lost)
}
