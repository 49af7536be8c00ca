package routes

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
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
	var root *trieNode[int]
	for i, key := range []string{"a", "b", "c"} {
		root, _ = root.with(hash, 0, trieEntry[int]{key, i})
	}
	root, added := root.with(hash, 0, trieEntry[int]{"b", 10})
	if added {
		t.Error("b was there before")
	}
	root = root.without(hash, 0, "a")
	got := maps.Collect(trie[int]{root: root}.all())
	if !maps.Equal(got, map[string]int{"b": 10, "c": 2}) {
		t.Errorf("got %v", got)
	}
	if root = root.without(hash, 0, "b").without(hash, 0, "c"); root != nil {
		t.Error("an empty trie has a node left")
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
