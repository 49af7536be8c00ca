package routes

import "math/bits"

// A draft is a trie with changes that are gathered and made together: a million
// one after the other would copy the way to each of them. The zero value is a
// draft of an empty trie.
type draft[V keyed] struct {
	trie trie[V]
	puts map[string]V // not in trie yet
}

func (d *draft[V]) get(key string) (V, bool) {
	if v, ok := d.puts[key]; ok {
		return v, true
	}
	return d.trie.get(key)
}

func (d *draft[V]) put(value V) {
	if d.puts == nil {
		d.puts = map[string]V{}
	}
	d.puts[value.key()] = value
}

func (d *draft[V]) remove(key string) {
	delete(d.puts, key)
	d.trie = d.trie.without(key)
}

// seal makes the changes and returns the trie.
func (d *draft[V]) seal() trie[V] {
	d.trie = d.trie.withAll(d.puts)
	d.puts = nil
	return d.trie
}

// withAll is with for many values by their keys: what these have in common is copied once.
func (t trie[V]) withAll(puts map[string]V) trie[V] {
	if len(puts) < 2 {
		for _, value := range puts {
			t = t.with(value)
		}
		return t
	}
	leaves := make([]trieNode[V], 0, len(puts))
	for _, value := range puts {
		leaves = append(leaves, leafOf(value))
	}
	var root *trieNode[V]
	if t.size > 0 {
		root = &t.root
	}
	next, added := root.withAll(0, leaves, make([]trieNode[V], len(leaves)))
	return trie[V]{root: next, size: t.size + added}
}

// withAll returns the node (nil: there is none), which is depth steps below the root, with at least one leaf; the
// keys of the leaves differ. leaves and spare, which has the same length, are written to.
func (n *trieNode[V]) withAll(depth int, leaves, spare []trieNode[V]) (out trieNode[V], added int) {
	switch {
	case n == nil && len(leaves) == 1:
		return leaves[0], 1
	case len(leaves) == 1:
		next, one := n.with(depth, leaves[0])
		if one {
			added = 1
		}
		return next, added
	case n != nil && n.isLeaf():
		branch := n.split(depth)
		return branch.withAll(depth, leaves, spare)
	}
	ends, used := bySteps(depth, leaves, spare)
	var children []trieNode[V]
	if n != nil {
		used |= n.hash
		children = n.children()
	}
	merged, from := make([]trieNode[V], 0, bits.OnesCount64(used)), 0
	for step, to := range ends {
		var child *trieNode[V]
		if n != nil && n.hash&(1<<step) != 0 {
			child, children = &children[0], children[1:]
		}
		if from == to {
			if child != nil {
				merged = append(merged, *child)
			}
			continue
		}
		next, more := child.withAll(depth+1, spare[from:to], leaves[from:to])
		merged = append(merged, next)
		added += more
		from = to
	}
	return branchOf(used, merged), added
}

// bySteps copies leaves to sorted in the order of the steps that lead to them at a depth, and returns where those of each step
// end, and which steps there are.
func bySteps[V keyed](depth int, leaves, sorted []trieNode[V]) (ends [trieWidth]int, used uint64) {
	var next [trieWidth]int
	for i := range leaves {
		next[leaves[i].step(depth)]++
	}
	for step, at := 0, 0; step < trieWidth; step++ {
		count := next[step]
		next[step] = at
		at += count
		ends[step] = at
		if count > 0 {
			used |= 1 << step
		}
	}
	for i := range leaves {
		step := leaves[i].step(depth)
		sorted[next[step]] = leaves[i]
		next[step]++
	}
	return ends, used
}
