package routes

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// entry is a value for tries of tests.
type entry struct {
	name  string
	value int
}

func (e entry) key() string { return e.name }

func collect(t trie[entry]) map[string]int {
	out := map[string]int{}
	for e := range t.all() {
		out[e.name] = e.value
	}
	return out
}

// TestTrieIsAMap compares it with a map over random changes, and makes sure that
// older versions stay as they were.
func TestTrieIsAMap(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 30 {
		var now trie[entry]
		model := map[string]int{}
		type version struct {
			trie  trie[entry]
			model map[string]int
		}
		var old []version
		keys := 1 + random.IntN(1<<(round/3+2))
		for i := range 1000 {
			key := fmt.Sprintf("k%d", random.IntN(keys))
			if random.IntN(5) < 2 {
				now = now.without(key)
				delete(model, key)
			} else {
				now = now.with(entry{key, i})
				model[key] = i
			}
			if i%250 == 0 {
				old = append(old, version{now, maps.Clone(model)})
			}
		}
		for _, v := range append(old, version{now, model}) {
			if got := collect(v.trie); !maps.Equal(got, v.model) || v.trie.len() != len(v.model) {
				t.Fatalf("round %d: got %d entries (len %d), want %d", round, len(got), v.trie.len(), len(v.model))
			}
			for i := range keys {
				key := fmt.Sprintf("k%d", i)
				got, ok := v.trie.get(key)
				want, wantOK := v.model[key]
				if got.value != want || ok != wantOK {
					t.Fatalf("round %d: %s is %d, %v, want %d, %v", round, key, got.value, ok, want, wantOK)
				}
			}
		}
	}
}

// leafAt is a leaf whose key is taken to have a hash that it does not have.
func leafAt(hash uint64, key string, value int) trieNode[entry] {
	return trieNode[entry]{hash: hash, value: entry{key, value}}
}

// TestTrieKeepsKeysWhoseHashesAreEqual puts several keys in the place of one hash.
func TestTrieKeepsKeysWhoseHashesAreEqual(t *testing.T) {
	const hash = 0x123456789abcdef0
	root := leafAt(hash, "a", 0)
	for i, key := range []string{"b", "c"} {
		var added bool
		if root, added = root.with(0, leafAt(hash, key, i+1)); !added {
			t.Errorf("%s was not there before", key)
		}
	}
	root, added := root.with(0, leafAt(hash, "b", 10))
	if added {
		t.Error("b was there before")
	}
	root, _ = root.with(0, leafAt(hash+1<<63, "d", 3)) // the last bits alone differ
	if got := collect(trie[entry]{root: root, size: 4}); !maps.Equal(got, map[string]int{"a": 0, "b": 10, "c": 2, "d": 3}) {
		t.Errorf("got %v", got)
	}
	root = *root.without(hash+1<<63, 0, "d")
	root = *root.without(hash, 0, "a")
	if got := collect(trie[entry]{root: root, size: 2}); !maps.Equal(got, map[string]int{"b": 10, "c": 2}) {
		t.Errorf("got %v", got)
	}
	root = *root.without(hash, 0, "b")
	if !root.isLeaf() {
		t.Error("a single leaf has a branch left")
	}
	if left := root.without(hash, 0, "c"); left != nil {
		t.Error("an empty trie has a node left")
	}
}

// A million sites are more than a million nodes; see trieNode.
func TestANodeOfATrieIsThreeWords(t *testing.T) {
	if size := unsafe.Sizeof(trieNode[*Route]{}); size != 24 {
		t.Errorf("a node has %d bytes", size)
	}
}

func TestTrieStopsWhenTheLoopStops(t *testing.T) {
	var tr trie[entry]
	for i := range 1000 {
		tr = tr.with(entry{fmt.Sprint(i), i})
	}
	n := 0
	for range tr.all() {
		if n++; n == 10 {
			break
		}
	}
	if n != 10 {
		t.Errorf("%d rounds", n)
	}
}
