package routes

import (
	"path/filepath"
	"testing"
)

// A source that deletes by itself is believed of no document that it doubts, also after a restart, until a batch is trusted.
func TestDoubtedAbsenceOfFewIsHeld(t *testing.T) {
	file := filepath.Join(t.TempDir(), "routes")
	doubt := func(key Key) bool { return key.Name != "h5.test" }
	f := follow(t, file)
	f.send(Batch{Full: true, Changes: sites(6)})
	f.send(Batch{Changes: []Change{gone(KindVhost, "h4.test"), gone(KindVhost, "h5.test")}, Doubt: doubt})
	f.expect("one is doubted, one is not", 5, 1)
	f.send(Batch{Full: true, Changes: sites(3), Doubt: doubt})
	f.expect("one more is absent from all", 5, 2)
	if !f.Holds(Key{KindVhost, "h3.test"}) {
		t.Error("it is not the one that is held")
	}
	f.stop()
	f = follow(t, file)
	f.send(Batch{Changes: []Change{gone(KindVhost, "h4.test"), gone(KindVhost, "never.test")}, Doubt: doubt})
	f.expect("after a restart, and nothing is held that never was", 5, 2)
	f.send(Batch{Changes: []Change{gone(KindVhost, "h4.test")}})
	f.expect("a removal without doubt", 4, 1)
	f.send(Batch{Full: true, Trusted: true, Changes: sites(3), Doubt: doubt})
	f.expect("loss was accepted", 3, 0)
}
