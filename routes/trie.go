package routes

import (
	"hash/maphash"
	"iter"
	"math/bits"
	"slices"
	"unsafe"
)

// keyed is a value that knows the key which it stands under.
type keyed interface{ key() string }

// trie is a persistent map of values by their keys: with and without return a new
// trie that shares all but the path to the key with the old one, so that both can be read
// at the same time. It is a hash trie of 64-way nodes (Bagwell, "Ideal Hash
// Trees"), at most a handful of hops deep for millions of keys. The zero value
// is an empty trie.
type trie[V keyed] struct {
	root trieNode[V] // nothing of it counts if size is 0
	size int
}

// A trieNode is a branch if it has children, else a leaf. A million sites are a million
// nodes and more, and a lookup among them reads memory that nobody has read for a while: a node is
// small, and the children of one lie side by side.
type trieNode[V keyed] struct {
	first *trieNode[V] // of a branch's children; nil: a leaf
	hash  uint64       // of a leaf's key; a branch's bit i says that it has a child for step i
	value V            // of a leaf
}

const (
	trieBits  = 6               // of a hash that choose a child
	trieSteps = 64/trieBits - 1 // that one hash is good for
	trieWidth = 1 << trieBits   // children that a node has at most
	trieMask  = uint64(trieWidth - 1)
)

// trieSeed is random per process: nobody can choose names that collide.
var trieSeed = maphash.MakeSeed()

func hashOf(key string) uint64 { return maphash.String(trieSeed, key) }

// stepOf says which child of a branch at some depth leads to a key.
func stepOf(hash uint64, key string, depth int) uint64 {
	if depth < trieSteps {
		return hash >> (depth * trieBits) & trieMask
	}
	return laterStep(key, depth)
}

// laterStep is stepOf where two hashes agree in all bits but a few: another hash of the keys tells them apart.
func laterStep(key string, depth int) uint64 {
	var h maphash.Hash
	h.SetSeed(trieSeed)
	maphash.WriteComparable(&h, depth/trieSteps)
	_, _ = h.WriteString(key) // never fails
	return h.Sum64() >> (depth % trieSteps * trieBits) & trieMask
}

// step is stepOf for the key of a leaf, whose value is not read for it: that lies elsewhere.
func (n *trieNode[V]) step(depth int) uint64 {
	if depth < trieSteps {
		return n.hash >> (depth * trieBits) & trieMask
	}
	return laterStep(n.value.key(), depth)
}

func leafOf[V keyed](value V) trieNode[V] {
	return trieNode[V]{hash: hashOf(value.key()), value: value}
}

// branchOf returns a branch with some children, of which there is at least one; used says which they are.
func branchOf[V keyed](used uint64, children []trieNode[V]) trieNode[V] {
	return trieNode[V]{first: unsafe.SliceData(children), hash: used}
}

func (n *trieNode[V]) isLeaf() bool { return n.first == nil }

// children are those of a branch, in the order of their steps.
func (n *trieNode[V]) children() []trieNode[V] {
	return unsafe.Slice(n.first, bits.OnesCount64(n.hash)) // as branchOf was given them
}

// at returns where the child for a step is, or would be, and whether it is there.
func (n *trieNode[V]) at(step uint64) (int, bool) {
	bit := uint64(1) << step
	return bits.OnesCount64(n.hash & (bit - 1)), n.hash&bit != 0
}

func (t trie[V]) len() int { return t.size }

func (t trie[V]) get(key string) (V, bool) {
	var none V
	if t.size == 0 {
		return none, false
	}
	hash := hashOf(key)
	n := &t.root
	for depth := 0; !n.isLeaf(); depth++ {
		i, there := n.at(stepOf(hash, key, depth))
		if !there {
			return none, false
		}
		n = &n.children()[i]
	}
	if n.hash == hash && n.value.key() == key {
		return n.value, true
	}
	return none, false
}

func (t trie[V]) with(value V) trie[V] {
	if t.size == 0 {
		return trie[V]{root: leafOf(value), size: 1}
	}
	root, added := t.root.with(0, leafOf(value))
	if added {
		t.size++
	}
	t.root = root
	return t
}

// with returns the node, which is depth steps below the root, with a leaf.
func (n *trieNode[V]) with(depth int, leaf trieNode[V]) (_ trieNode[V], added bool) {
	if n.isLeaf() {
		if n.hash == leaf.hash && n.value.key() == leaf.value.key() {
			return leaf, false
		}
		branch := n.split(depth) // two keys in one place: one level down they may be in two
		return branch.with(depth, leaf)
	}
	step := leaf.step(depth)
	i, there := n.at(step)
	if !there {
		return branchOf(n.hash|1<<step, slices.Concat(n.children()[:i], []trieNode[V]{leaf}, n.children()[i:])), true
	}
	children := slices.Clone(n.children())
	children[i], added = children[i].with(depth+1, leaf)
	return branchOf(n.hash, children), added
}

// split returns a branch with nothing but a leaf.
func (n *trieNode[V]) split(depth int) trieNode[V] {
	return branchOf(1<<n.step(depth), []trieNode[V]{*n})
}

func (t trie[V]) without(key string) trie[V] {
	if _, there := t.get(key); !there {
		return t
	}
	root := t.root.without(hashOf(key), 0, key)
	if root == nil {
		return trie[V]{}
	}
	return trie[V]{root: *root, size: t.size - 1}
}

// without removes a key that is there; it returns nil when nothing is left.
func (n *trieNode[V]) without(hash uint64, depth int, key string) *trieNode[V] {
	if n.isLeaf() {
		return nil
	}
	step := stepOf(hash, key, depth)
	i, _ := n.at(step)
	child, out := n.children()[i].without(hash, depth+1, key), trieNode[V]{}
	if child != nil {
		children := slices.Clone(n.children())
		children[i] = *child
		out = branchOf(n.hash, children)
	} else {
		out = branchOf(n.hash&^(1<<step), slices.Concat(n.children()[:i], n.children()[i+1:]))
	}
	if left := out.children(); len(left) == 1 && left[0].isLeaf() {
		return &left[0] // a leaf needs no branch of its own
	}
	return &out
}

// all yields every value in no particular order.
func (t trie[V]) all() iter.Seq[V] {
	return func(yield func(V) bool) {
		if t.size > 0 {
			t.root.each(yield)
		}
	}
}

func (n *trieNode[V]) each(yield func(V) bool) bool {
	if n.isLeaf() {
		return yield(n.value)
	}
	for i := range n.children() {
		if !n.children()[i].each(yield) {
			return false
		}
	}
	return true
}
