package routes

import (
	"hash/maphash"
	"iter"
	"math/bits"
)

// trie is a persistent map from strings: with and without return a new trie that
// shares all but the path to the key with the old one, so that both can be read
// at the same time. It is a hash trie of 32-way nodes (Bagwell, "Ideal Hash
// Trees"), at most a handful of hops deep for millions of keys. The zero value
// is an empty trie.
type trie[V any] struct {
	root *trieNode[V]
	size int
}

// A trieNode holds up to 32 slots, packed: bit i of used says that slot i is there.
type trieNode[V any] struct {
	used  uint32
	slots []trieSlot[V]
}

// A trieSlot is a subtree (node), or else the entries whose hash leads here: one,
// or several whose 64 hash bits are all equal.
type trieSlot[V any] struct {
	node    *trieNode[V]
	hash    uint64
	entries []trieEntry[V]
}

type trieEntry[V any] struct {
	key   string
	value V
}

const trieBits = 5

// trieSeed is random per process: nobody can choose names that collide.
var trieSeed = maphash.MakeSeed()

func (t trie[V]) len() int { return t.size }

func (t trie[V]) get(key string) (V, bool) {
	hash := maphash.String(trieSeed, key)
	for n, rest := t.root, hash; n != nil; rest >>= trieBits {
		bit := uint32(1) << (rest & 31)
		if n.used&bit == 0 {
			break
		}
		slot := &n.slots[bits.OnesCount32(n.used&(bit-1))]
		if slot.node != nil {
			n = slot.node
			continue
		}
		for i := range slot.entries {
			if slot.entries[i].key == key {
				return slot.entries[i].value, true
			}
		}
		break
	}
	var none V
	return none, false
}

func (t trie[V]) with(key string, value V) trie[V] {
	root, added := t.root.with(maphash.String(trieSeed, key), 0, trieEntry[V]{key, value})
	if added {
		t.size++
	}
	t.root = root
	return t
}

func (n *trieNode[V]) with(hash uint64, shift uint, e trieEntry[V]) (*trieNode[V], bool) {
	bit := uint32(1) << (hash >> shift & 31)
	if n == nil {
		return &trieNode[V]{used: bit, slots: []trieSlot[V]{{hash: hash, entries: []trieEntry[V]{e}}}}, true
	}
	at := bits.OnesCount32(n.used & (bit - 1))
	if n.used&bit == 0 {
		out := &trieNode[V]{used: n.used | bit, slots: make([]trieSlot[V], len(n.slots)+1)}
		copy(out.slots, n.slots[:at])
		out.slots[at] = trieSlot[V]{hash: hash, entries: []trieEntry[V]{e}}
		copy(out.slots[at+1:], n.slots[at:])
		return out, true
	}
	slot, added := n.slots[at].with(hash, shift, e)
	out := &trieNode[V]{used: n.used, slots: make([]trieSlot[V], len(n.slots))}
	copy(out.slots, n.slots)
	out.slots[at] = slot
	return out, added
}

func (s trieSlot[V]) with(hash uint64, shift uint, e trieEntry[V]) (trieSlot[V], bool) {
	if s.node != nil {
		node, added := s.node.with(hash, shift+trieBits, e)
		return trieSlot[V]{node: node}, added
	}
	if s.hash != hash { // two keys in one slot: push both one level down
		deeper := &trieNode[V]{used: 1 << (s.hash >> (shift + trieBits) & 31), slots: []trieSlot[V]{s}}
		node, _ := deeper.with(hash, shift+trieBits, e)
		return trieSlot[V]{node: node}, true
	}
	entries := make([]trieEntry[V], 0, len(s.entries)+1)
	added := true
	for _, old := range s.entries {
		if old.key == e.key {
			added = false
			continue
		}
		entries = append(entries, old)
	}
	return trieSlot[V]{hash: hash, entries: append(entries, e)}, added
}

func (t trie[V]) without(key string) trie[V] {
	if _, there := t.get(key); !there {
		return t
	}
	t.root = t.root.without(maphash.String(trieSeed, key), 0, key)
	t.size--
	return t
}

// without removes a key that is there; it returns nil when nothing is left.
func (n *trieNode[V]) without(hash uint64, shift uint, key string) *trieNode[V] {
	bit := uint32(1) << (hash >> shift & 31)
	at := bits.OnesCount32(n.used & (bit - 1))
	slot := n.slots[at]
	if slot.node != nil {
		slot.node = slot.node.without(hash, shift+trieBits, key)
	} else {
		kept := make([]trieEntry[V], 0, len(slot.entries))
		for _, e := range slot.entries {
			if e.key != key {
				kept = append(kept, e)
			}
		}
		slot.entries = kept
	}
	if slot.node != nil || len(slot.entries) > 0 {
		out := &trieNode[V]{used: n.used, slots: make([]trieSlot[V], len(n.slots))}
		copy(out.slots, n.slots)
		out.slots[at] = slot
		return out
	}
	if len(n.slots) == 1 {
		return nil
	}
	out := &trieNode[V]{used: n.used &^ bit, slots: make([]trieSlot[V], 0, len(n.slots)-1)}
	out.slots = append(append(out.slots, n.slots[:at]...), n.slots[at+1:]...)
	return out
}

// all yields every entry in no particular order.
func (t trie[V]) all() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) { t.root.each(yield) }
}

func (n *trieNode[V]) each(yield func(string, V) bool) bool {
	if n == nil {
		return true
	}
	for i := range n.slots {
		for _, e := range n.slots[i].entries {
			if !yield(e.key, e.value) {
				return false
			}
		}
		if !n.slots[i].node.each(yield) {
			return false
		}
	}
	return true
}
