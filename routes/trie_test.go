package routes

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// TestTrieIsAMap compares it with a map over random changes, and makes sure that
// older versions stay as they were.
func TestTrieIsAMap(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 30 {
		var now trie[int]
		model := map[string]int{}
		type version struct {
			trie  trie[int]
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
				now = now.with(key, i)
				model[key] = i
			}
			if i%250 == 0 {
				old = append(old, version{now, maps.Clone(model)})
			}
		}
		for _, v := range append(old, version{now, model}) {
			if got := maps.Collect(v.trie.all()); !maps.Equal(got, v.model) || v.trie.len() != len(v.model) {
				t.Fatalf("round %d: got %d entries (len %d), want %d", round, len(got), v.trie.len(), len(v.model))
			}
			for i := range keys {
				key := fmt.Sprintf("k%d", i)
				got, ok := v.trie.get(key)
				want, wantOK := v.model[key]
				if got != want || ok != wantOK {
					t.Fatalf("round %d: %s is %d, %v, want %d, %v", round, key, got, ok, want, wantOK)
				}
			}
		}
	}
}

// TestTrieKeepsKeysWhoseHashesAreEqual puts two keys in the place of one hash.
func TestTrieKeepsKeysWhoseHashesAreEqual(t *testing.T) {
	const hash = 0x123456789abcdef0
	leaf := func(key string, value int) trieNode[int] { return trieNode[int]{hash: hash, key: key, value: value} }
	root := leaf("a", 0)
	for i, key := range []string{"b", "c"} {
		var added bool
		if root, added = root.with(0, leaf(key, i+1)); !added {
			t.Errorf("%s was not there before", key)
		}
	}
	root, added := root.with(0, leaf("b", 10))
	if added {
		t.Error("b was there before")
	}
	root, _ = root.with(0, trieNode[int]{hash: hash + 1<<60, key: "d", value: 3}) // the last bits alone differ
	if got := maps.Collect(trie[int]{root: root, size: 4}.all()); !maps.Equal(got, map[string]int{"a": 0, "b": 10, "c": 2, "d": 3}) {
		t.Errorf("got %v", got)
	}
	root = *root.without(hash+1<<60, 0, "d")
	if len(root.children) != 0 {
		t.Error("a single leaf has a branch left")
	}
	root = *root.without(hash, 0, "a")
	if got := maps.Collect(trie[int]{root: root, size: 2}.all()); !maps.Equal(got, map[string]int{"b": 10, "c": 2}) {
		t.Errorf("got %v", got)
	}
	if left := root.without(hash, 0, "b").without(hash, 0, "c"); left != nil {
		t.Error("an empty trie has a node left")
	}
}

// A node is as large as a line of a processor's cache; see trieNode.
func TestANodeOfATrieIsOneCacheLine(t *testing.T) {
	if size := unsafe.Sizeof(trieNode[*Route]{}); size != 64 {
		t.Errorf("a node has %d bytes", size)
	}
}

func TestTrieStopsWhenTheLoopStops(t *testing.T) {
	var tr trie[int]
	for i := range 1000 {
		tr = tr.with(fmt.Sprint(i), i)
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
