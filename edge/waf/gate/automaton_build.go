package gate

import (
	"cmp"
	"slices"
)

// A node is a state in the making: the beginning of a word.
type node struct {
	next  map[uint8]int32 // by class
	steps []way           // to beginnings of three bytes and more, sorted by class
	back  int32           // the longest end of it that also begins a word
	depth int32
	ends  []uint32 // the words that end in it
	at    uint32   // where it lies
}

// A way is a step by one class.
type way struct {
	class uint8
	to    int32
}

// newAutomaton makes the automaton of words in lower case. A word's number is its place; an empty one
// is never found.
func newAutomaton(words []string) *automaton {
	a := &automaton{count: len(words)}
	a.classify(words)
	nodes := a.trie(words)
	order := a.link(nodes)
	a.place(nodes, order)
	return a
}

// classify gives each byte of the words a class, and an upper case letter that of its lower case.
func (a *automaton) classify(words []string) {
	var used byteSet
	for _, w := range words {
		used = used.union(bytesOf(w))
	}
	a.columns = noWord + 1
	for c := range a.classes {
		if a.classes[c] = noWord; used.has(byte(c)) {
			a.classes[c] = uint8(a.columns)
			a.columns++
		}
	}
	for c := 'A'; c <= 'Z'; c++ {
		a.classes[c] = a.classes[c+'a'-'A']
	}
}

func (a *automaton) trie(words []string) []*node {
	nodes := []*node{{next: map[uint8]int32{}}}
	for number, w := range words {
		at := int32(0)
		for i := range len(w) {
			class := a.classes[w[i]]
			to, ok := nodes[at].next[class]
			if !ok {
				to = int32(len(nodes))
				nodes[at].next[class] = to
				nodes = append(nodes, &node{next: map[uint8]int32{}, depth: nodes[at].depth + 1})
			}
			at = to
		}
		if w != "" {
			nodes[at].ends = append(nodes[at].ends, uint32(number))
		}
	}
	return nodes
}

// link works out of each node where it falls back to and its long steps, and returns the nodes, the
// short ones first.
func (a *automaton) link(nodes []*node) (order []int32) {
	order = append(order, 0)
	for i := 0; i < len(order); i++ {
		n := nodes[order[i]]
		var own []way
		for class, to := range n.next {
			own = append(own, way{class, to})
		}
		slices.SortFunc(own, func(a, b way) int { return cmp.Compare(a.class, b.class) })
		var inherited []way
		if n.depth > 0 {
			inherited = nodes[n.back].steps
			n.ends = append(n.ends, nodes[n.back].ends...)
		}
		for _, w := range own {
			child := nodes[w.to]
			if n.depth > 0 {
				child.back = follow(nodes, n.back, w.class)
			}
			order = append(order, w.to)
		}
		n.steps = mergeWays(nodes, own, inherited)
	}
	return order
}

// follow is where a node that is finished leads by a class.
func follow(nodes []*node, from int32, class uint8) int32 {
	for {
		if to, ok := nodes[from].next[class]; ok {
			return to
		}
		if from == 0 {
			return 0
		}
		from = nodes[from].back
	}
}

// mergeWays joins a node's own steps with those that it has from where it falls back to; its own go first.
// Steps to short beginnings are left out.
func mergeWays(nodes []*node, own, inherited []way) (out []way) {
	for len(own)+len(inherited) > 0 {
		var w way
		switch {
		case len(inherited) == 0 || len(own) > 0 && own[0].class < inherited[0].class:
			w, own = own[0], own[1:]
		case len(own) == 0 || inherited[0].class < own[0].class:
			w, inherited = inherited[0], inherited[1:]
		default:
			w, own, inherited = own[0], own[1:], inherited[1:]
		}
		if nodes[w.to].depth > 2 {
			out = append(out, w)
		}
	}
	return out
}

// place gives each node its place and fills the tables. The root lies at 0.
func (a *automaton) place(nodes []*node, order []int32) {
	p := placer{taken: make([]bool, 1024), based: make([]bool, 1024)}
	for _, i := range order {
		n := nodes[i]
		n.at = p.place(n)
	}
	a.cells = make([]cell, p.top+a.columns)
	for i := range a.cells {
		a.cells[i].owner = ends // nobody's
	}
	step := func(to int32) uint32 {
		if n := nodes[to]; len(n.ends) > 0 {
			return n.at | ends
		}
		return nodes[to].at
	}
	for _, n := range nodes {
		if len(n.ends) > 0 {
			a.cells[n.at+firstCell] = cell{ends, uint32(len(a.words))}
			a.words = append(a.words, slices.Compact(slices.Sorted(slices.Values(n.ends))))
		}
		for _, w := range n.steps {
			a.cells[n.at+uint32(w.class)] = cell{n.at, step(w.to)}
		}
	}
	a.short = make([]uint32, a.columns*a.columns)
	for before := range a.columns {
		one := nodes[0].next[uint8(before)] // 0, the root, if there is none
		for class := range a.columns {
			a.short[before*a.columns+class] = step(follow(nodes, one, uint8(class)))
		}
	}
}

// A placer lays states over one another so that no two want the same cell.
type placer struct {
	taken []bool // cells
	based []bool // places that are some state's
	from  int    // below it, hardly any cell is free
	top   int    // behind the last place
}

// place returns a place for a node: no other one's, and with its cells free.
func (p *placer) place(n *node) uint32 {
	for at := p.from; ; at++ {
		for at+256 >= len(p.taken) {
			p.taken = append(p.taken, make([]bool, len(p.taken))...)
			p.based = append(p.based, make([]bool, len(p.based))...)
		}
		if p.based[at] || !p.fits(n, at) {
			continue
		}
		p.based[at] = true
		p.taken[at+firstCell] = p.taken[at+firstCell] || len(n.ends) > 0
		for _, w := range n.steps {
			p.taken[at+int(w.class)] = true
		}
		p.top = max(p.top, at+1)
		// A search that had to go far says that what lies before is nearly full.
		if at-p.from > 512 {
			p.from += (at - p.from) / 2
		}
		return uint32(at)
	}
}

func (p *placer) fits(n *node, at int) bool {
	if len(n.ends) > 0 && p.taken[at+firstCell] {
		return false
	}
	for _, w := range n.steps {
		if p.taken[at+int(w.class)] {
			return false
		}
	}
	return true
}
