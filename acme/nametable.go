package acme

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// A nameTable holds an entry for each of many names. Look-ups take no lock, allocate
// nothing, and touch little memory, for most of it is in no processor's cache where
// there are 100,000 names: a slot, the name's node, and the name itself. A map, which
// would need a lock and several shards of it, touches twice as much.
//
// It is a hash table with open addressing and linear probing. Nodes never change:
// writers, one at a time, put others in their place. A name that is taken out leaves
// a node with an empty entry until the table is made anew.
type nameTable struct {
	seed  maphash.Seed
	slots atomic.Pointer[[]atomic.Pointer[node]] // their number is a power of two; at least half of them are nil
	mu    sync.Mutex                             // held by writers
	used  int                                    // slots that are not nil
}

// A node is 64 bytes: what a look-up reads of it is one line of a processor's cache.
type node struct {
	hash uint64
	name string
	entry
}

const fewestSlots = 16

func newNameTable() *nameTable {
	t := &nameTable{seed: maphash.MakeSeed()}
	slots := make([]atomic.Pointer[node], fewestSlots)
	t.slots.Store(&slots)
	return t
}

// get returns a name's entry, the zero entry if there is none.
func (t *nameTable) get(name string) entry {
	hash := maphash.String(t.seed, name)
	if n := probe(*t.slots.Load(), hash, name).Load(); n != nil {
		return n.entry
	}
	return entry{}
}

// probe returns a name's slot, or the free one where it belongs.
func probe(slots []atomic.Pointer[node], hash uint64, name string) *atomic.Pointer[node] {
	mask := uint64(len(slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		if n := slots[i].Load(); n == nil || n.hash == hash && n.name == name {
			return &slots[i]
		}
	}
}

// change replaces a name's entry by what f makes of it.
func (t *nameTable) change(name string, f func(*entry)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := &node{hash: maphash.String(t.seed, name), name: name}
	slot := probe(*t.slots.Load(), n.hash, name)
	old := slot.Load()
	if old != nil {
		n.entry = old.entry
	}
	if f(&n.entry); old == nil {
		if n.entry == (entry{}) {
			return
		}
		if t.used++; 2*t.used > len(*t.slots.Load()) {
			t.remake()
			slot = probe(*t.slots.Load(), n.hash, name)
		}
	}
	slot.Store(n)
}

// remake moves the names that have an entry to new slots, a third of them at most taken, and leaves room for one more.
func (t *nameTable) remake() {
	old := *t.slots.Load()
	t.used = 1
	for i := range old {
		if n := old[i].Load(); n != nil && n.entry != (entry{}) {
			t.used++
		}
	}
	size := fewestSlots
	for size < 3*t.used {
		size *= 2
	}
	slots := make([]atomic.Pointer[node], size)
	for i := range old {
		if n := old[i].Load(); n != nil && n.entry != (entry{}) {
			probe(slots, n.hash, n.name).Store(n)
		}
	}
	t.slots.Store(&slots)
}

// all calls f with each name that has an entry, in no order. What changes meanwhile may be missed.
func (t *nameTable) all(f func(name string, e entry)) {
	slots := *t.slots.Load()
	for i := range slots {
		if n := slots[i].Load(); n != nil && n.entry != (entry{}) {
			f(n.name, n.entry)
		}
	}
}
