package routes

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
)

// TestDraftIsAMap compares tries that were made of many keys at once with maps,
// and makes sure that the tries before stay as they were.
func TestDraftIsAMap(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for round := range 40 {
		var now trie[int]
		model := map[string]int{}
		keys := 1 + random.IntN(1<<(round/4+2))
		for step := range 20 {
			before, was := now, maps.Clone(model)
			d := draft[int]{trie: now}
			for i := range random.IntN(keys + 1) {
				key := fmt.Sprintf("k%d", random.IntN(keys))
				if random.IntN(5) == 0 {
					d.remove(key)
					delete(model, key)
				} else {
					d.put(key, step*1000+i+1)
					model[key] = step*1000 + i + 1
				}
				if got, ok := d.get(key); ok != (model[key] != 0) || got != model[key] {
					t.Fatalf("the draft has %d, %v for %s, want %d", got, ok, key, model[key])
				}
			}
			now = d.seal()
			for what, v := range map[string]struct {
				trie  trie[int]
				model map[string]int
			}{"after": {now, model}, "before": {before, was}} {
				if got := maps.Collect(v.trie.all()); !maps.Equal(got, v.model) || v.trie.len() != len(v.model) {
					t.Fatalf("%s: %d entries, length %d, want %d", what, len(got), v.trie.len(), len(v.model))
				}
				for key, want := range v.model {
					if got, ok := v.trie.get(key); !ok || got != want {
						t.Fatalf("%s: %s is %d, %v, want %d", what, key, got, ok, want)
					}
				}
			}
		}
	}
}

func TestDraftKeepsKeysWhoseHashesAreEqual(t *testing.T) {
	leaf := func(key string, value int) trieNode[int] {
		return trieNode[int]{hash: 0x123456789abcdef0, key: key, value: value}
	}
	leaves := []trieNode[int]{leaf("a", 1), leaf("b", 2), leaf("c", 3)}
	root, added := (*trieNode[int])(nil).withAll(0, leaves, make([]trieNode[int], 3))
	if added != 3 {
		t.Errorf("%d were added, want 3", added)
	}
	leaves = []trieNode[int]{leaf("b", 20), leaf("d", 4)}
	root, added = root.withAll(0, leaves, make([]trieNode[int], 2))
	if added != 1 {
		t.Errorf("%d were added, want 1", added)
	}
	got := map[string]int{}
	root.each(func(key string, value int) bool { got[key] = value; return true })
	if !maps.Equal(got, map[string]int{"a": 1, "b": 20, "c": 3, "d": 4}) {
		t.Errorf("got %v", got)
	}
}
