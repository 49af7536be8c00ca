package routes

// A draft is a trie with changes that are gathered and made together: a million
// one after the other would copy the way to each of them. The zero value is a
// draft of an empty trie.
type draft[V any] struct {
	trie trie[V]
	puts map[string]V // not in trie yet
}

func (d *draft[V]) get(key string) (V, bool) {
	if v, ok := d.puts[key]; ok {
		return v, true
	}
	return d.trie.get(key)
}

func (d *draft[V]) put(key string, value V) {
	if d.puts == nil {
		d.puts = map[string]V{}
	}
	d.puts[key] = value
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

// withAll is with for many keys: what they have in common is copied once.
func (t trie[V]) withAll(puts map[string]V) trie[V] {
	if len(puts) < 2 {
		for key, value := range puts {
			t = t.with(key, value)
		}
		return t
	}
	leaves := make([]trieNode[V], 0, len(puts))
	for key, value := range puts {
		leaves = append(leaves, trieNode[V]{hash: hashOf(key), key: key, value: value})
	}
	var root *trieNode[V]
	if t.size > 0 {
		root = &t.root
	}
	next, added := root.withAll(0, leaves, make([]trieNode[V], len(leaves)))
	return trie[V]{root: next, size: t.size + added}
}

// withAll returns the node (nil: there is none) with at least one leaf. leaves
// and spare, which has the same length, are written to.
func (n *trieNode[V]) withAll(shift uint, leaves, spare []trieNode[V]) (out trieNode[V], added int) {
	switch {
	case n == nil && len(leaves) == 1:
		return leaves[0], 1
	case len(leaves) == 1 || shift >= 64: // from there on all hashes are equal
		if n == nil {
			n, leaves, added = &leaves[0], leaves[1:], 1
		}
		out = *n
		for _, leaf := range leaves {
			next, one := out.with(shift, leaf)
			if out = next; one {
				added++
			}
		}
		return out, added
	case n != nil && len(n.children) == 0: // a leaf, with what shares its hash: one level down there is room
		branch := trieNode[V]{hash: 1 << (n.hash >> shift & 31), children: []trieNode[V]{*n}}
		return branch.withAll(shift, leaves, spare)
	}
	var ends [32]int // of the leaves of each child, in spare
	for i := range leaves {
		ends[leaves[i].hash>>shift&31]++
	}
	var starts [32]int
	for i, at := 0, 0; i < len(ends); i++ {
		starts[i] = at
		at += ends[i]
		ends[i] = starts[i]
	}
	for i := range leaves {
		child := leaves[i].hash >> shift & 31
		spare[ends[child]] = leaves[i]
		ends[child]++
		out.hash |= 1 << child
	}
	var children []trieNode[V]
	if n != nil {
		out.hash |= n.hash
		children = n.children
	}
	out.children = make([]trieNode[V], 0, bitCount(out.hash))
	for i := range ends {
		var child *trieNode[V]
		if n != nil && n.hash&(1<<i) != 0 {
			child, children = &children[0], children[1:]
		}
		from, to := starts[i], ends[i]
		if from == to {
			if child != nil {
				out.children = append(out.children, *child)
			}
			continue
		}
		next, more := child.withAll(shift+trieBits, spare[from:to], leaves[from:to])
		out.children = append(out.children, next)
		added += more
	}
	return out, added
}
