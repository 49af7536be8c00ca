package routes

import (
	"hash/maphash"
	"iter"
	"math/bits"
	"slices"
)

// trie is a persistent map from strings: with and without return a new trie that
// shares all but the path to the key with the old one, so that both can be read
// at the same time. It is a hash trie of 32-way nodes (Bagwell, "Ideal Hash
// Trees"), at most a handful of hops deep for millions of keys. The zero value
// is an empty trie.
type trie[V any] struct {
	root trieNode[V] // nothing of it counts if size is 0
	size int
}

// A trieNode is a branch if it has children, else a leaf. Nodes lie within their
// parent and have, for a value of a word, the size of a line of a processor's cache: a
// lookup among thousands of keys reads memory that nobody has read for a while, and waits
// for each line of it.
type trieNode[V any] struct {
	children []trieNode[V] // packed: bit i of hash says that child i is there
	hash     uint64        // a leaf's whole hash; a branch's used bits
	key      string
	value    V
	more     *trieNode[V] // further leaves whose 64 hash bits are all equal
}

const trieBits = 5

// trieSeed is random per process: nobody can choose names that collide.
var trieSeed = maphash.MakeSeed()

func hashOf(key string) uint64 { return maphash.String(trieSeed, key) }

func bitCount(set uint64) int { return bits.OnesCount64(set) }

func (t trie[V]) len() int { return t.size }

func (t trie[V]) get(key string) (V, bool) {
	var none V
	if t.size == 0 {
		return none, false
	}
	hash := hashOf(key)
	n := &t.root
	for rest := hash; len(n.children) > 0; rest >>= trieBits {
		bit := uint64(1) << (rest & 31)
		if n.hash&bit == 0 {
			return none, false
		}
		n = &n.children[n.at(bit)]
	}
	for ; n != nil && n.hash == hash; n = n.more {
		if n.key == key {
			return n.value, true
		}
	}
	return none, false
}

// at is where the child of a bit is, or would be.
func (n *trieNode[V]) at(bit uint64) int { return bits.OnesCount64(n.hash & (bit - 1)) }

func (t trie[V]) with(key string, value V) trie[V] {
	leaf := trieNode[V]{hash: hashOf(key), key: key, value: value}
	if t.size == 0 {
		return trie[V]{root: leaf, size: 1}
	}
	root, added := t.root.with(0, leaf)
	if added {
		t.size++
	}
	t.root = root
	return t
}

// with returns the node with a leaf; shift says which bits of a hash choose a child.
func (n *trieNode[V]) with(shift uint, leaf trieNode[V]) (_ trieNode[V], added bool) {
	bit := uint64(1) << (leaf.hash >> shift & 31)
	switch {
	case len(n.children) > 0:
	case n.hash == leaf.hash:
		rest, replaced := n.minus(leaf.key)
		leaf.more = rest
		return leaf, !replaced
	default: // two keys in one place: one level down they may be in two
		branch := trieNode[V]{hash: 1 << (n.hash >> shift & 31), children: []trieNode[V]{*n}}
		return branch.with(shift, leaf)
	}
	at, out := n.at(bit), trieNode[V]{hash: n.hash | bit}
	if n.hash&bit == 0 {
		out.children = make([]trieNode[V], 0, len(n.children)+1)
		out.children = append(append(append(out.children, n.children[:at]...), leaf), n.children[at:]...)
		return out, true
	}
	out.children = slices.Clone(n.children)
	out.children[at], added = n.children[at].with(shift+trieBits, leaf)
	return out, added
}

// minus returns the leaves of one hash without a key; nil if none is left.
func (n *trieNode[V]) minus(key string) (_ *trieNode[V], found bool) {
	if n == nil {
		return nil, false
	}
	if n.key == key {
		return n.more, true
	}
	out := *n
	out.more, found = n.more.minus(key)
	return &out, found
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
func (n *trieNode[V]) without(hash uint64, shift uint, key string) *trieNode[V] {
	if len(n.children) == 0 {
		rest, _ := n.minus(key)
		return rest
	}
	bit := uint64(1) << (hash >> shift & 31)
	at := n.at(bit)
	child := n.children[at].without(hash, shift+trieBits, key)
	out := &trieNode[V]{hash: n.hash}
	if child != nil {
		out.children = slices.Clone(n.children)
		out.children[at] = *child
	} else {
		out.hash &^= bit
		out.children = slices.Concat(n.children[:at], n.children[at+1:])
	}
	if len(out.children) == 1 && len(out.children[0].children) == 0 {
		return &out.children[0] // a leaf needs no branch of its own
	}
	return out
}

// all yields every entry in no particular order.
func (t trie[V]) all() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		if t.size > 0 {
			t.root.each(yield)
		}
	}
}

func (n *trieNode[V]) each(yield func(string, V) bool) bool {
	for i := range n.children {
		if !n.children[i].each(yield) {
			return false
		}
	}
	for leaf := n; len(n.children) == 0 && leaf != nil; leaf = leaf.more {
		if !yield(leaf.key, leaf.value) {
			return false
		}
	}
	return true
}
