package acme

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

func TestNameTableIsAsAMap(t *testing.T) {
	table, model := newNameTable(), map[string]entry{}
	leaves := []*leaf{nil, {}, {}}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		name := hostOf(random.IntN(500))
		f := func(e *entry) { e.told, e.issued = random.IntN(2) == 0, leaves[random.IntN(3)] }
		var made entry
		table.change(name, func(e *entry) {
			if *e != model[name] {
				t.Fatalf("%s: changed is %+v, not %+v", name, *e, model[name])
			}
			f(e)
			made = *e
		})
		if model[name] = made; made == (entry{}) {
			delete(model, name)
		}
	}
	for i := range 500 {
		if got, want := table.get(hostOf(i)), model[hostOf(i)]; got != want {
			t.Errorf("%s: %+v, not %+v", hostOf(i), got, want)
		}
	}
	listed := map[string]entry{}
	table.all(func(name string, e entry) { listed[name] = e })
	if len(listed) != len(model) {
		t.Errorf("%d names listed, %d are there", len(listed), len(model))
	}
	for name, e := range listed {
		if e != model[name] {
			t.Errorf("%s is listed with %+v, not %+v", name, e, model[name])
		}
	}
}

// Names that come and go take no more slots than are there at a time.
func TestNameTableForgetsWhatWasTakenOut(t *testing.T) {
	table := newNameTable()
	for i := range 10_000 {
		table.change(hostOf(i), func(e *entry) { e.told = true })
		table.change(hostOf(i), func(e *entry) { e.told = false })
		table.change(hostOf(i), func(*entry) {}) // nothing was there, nothing comes
	}
	if size := len(*table.slots.Load()); size > fewestSlots {
		t.Errorf("%d slots for no name", size)
	}
}

func TestNameTableIsReadWhileItChanges(t *testing.T) {
	table := newNameTable()
	table.change("stays.test", func(e *entry) { e.told = true })
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	for w := range 2 {
		writers.Go(func() {
			for i := range 2000 {
				name := fmt.Sprintf("n%d-%d.test", w, i)
				table.change(name, func(e *entry) { e.told = true })
				if i%2 == 0 {
					table.change(name, func(e *entry) { e.told = false })
				}
			}
		})
	}
	readers.Go(func() {
		for {
			if !table.get("stays.test").told {
				t.Error("a name was missed while others changed")
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	writers.Wait()
	close(done)
	readers.Wait()
	count := 0
	table.all(func(string, entry) { count++ })
	if count != 2001 {
		t.Errorf("%d names, not 2001", count)
	}
}
