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
		var now trie[entry]
		model := map[string]int{}
		keys := 1 + random.IntN(1<<(round/4+2))
		for step := range 20 {
			before, was := now, maps.Clone(model)
			d := draft[entry]{trie: now}
			for i := range random.IntN(keys + 1) {
				key := fmt.Sprintf("k%d", random.IntN(keys))
				if random.IntN(5) == 0 {
					d.remove(key)
					delete(model, key)
				} else {
					d.put(entry{key, step*1000 + i + 1})
					model[key] = step*1000 + i + 1
				}
				if got, ok := d.get(key); ok != (model[key] != 0) || got.value != model[key] {
					t.Fatalf("the draft has %d, %v for %s, want %d", got.value, ok, key, model[key])
				}
			}
			now = d.seal()
			for what, v := range map[string]struct {
				trie  trie[entry]
				model map[string]int
			}{"after": {now, model}, "before": {before, was}} {
				if got := collect(v.trie); !maps.Equal(got, v.model) || v.trie.len() != len(v.model) {
					t.Fatalf("%s: %d entries, length %d, want %d", what, len(got), v.trie.len(), len(v.model))
				}
				for key, want := range v.model {
					if got, ok := v.trie.get(key); !ok || got.value != want {
						t.Fatalf("%s: %s is %d, %v, want %d", what, key, got.value, ok, want)
					}
				}
			}
		}
	}
}

func TestDraftKeepsKeysWhoseHashesAreEqual(t *testing.T) {
	const hash = 0x123456789abcdef0
	leaves := []trieNode[entry]{leafAt(hash, "a", 1), leafAt(hash, "b", 2), leafAt(hash, "c", 3)}
	root, added := (*trieNode[entry])(nil).withAll(0, leaves, make([]trieNode[entry], 3))
	if added != 3 {
		t.Errorf("%d were added, want 3", added)
	}
	leaves = []trieNode[entry]{leafAt(hash, "b", 20), leafAt(hash, "d", 4)}
	root, added = root.withAll(0, leaves, make([]trieNode[entry], 2))
	if added != 1 {
		t.Errorf("%d were added, want 1", added)
	}
	if got := collect(trie[entry]{root, 4}); !maps.Equal(got, map[string]int{"a": 1, "b": 20, "c": 3, "d": 4}) {
		t.Errorf("got %v", got)
	}
}
