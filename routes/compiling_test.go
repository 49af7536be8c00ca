package routes

import (
	"testing"
	"time"
)

// Compiling a route may wait for servers of lists: no change waits for it, not even one of the same route, and what it makes is inherited.
func TestNoChangeWaitsForARouteThatIsBeingCompiled(t *testing.T) {
	t.Parallel()
	table, _ := with(&Table{}, vhostChange("a.test", "shop"))
	begun, end := make(chan struct{}), make(chan struct{})
	first := table.Match("a.test")
	compiled := make(chan any, 1)
	go func() {
		compiled <- first.Instance(func(*Route, any) any {
			close(begun)
			<-end
			return "first"
		})
	}()
	<-begun
	changed := make(chan *Table)
	go func() {
		second, _ := with(table, vhostChange("a.test", "shop", "b.test"))
		third, _ := with(second, vhostChange("a.test", "shop", "c.test"))
		changed <- third
	}()
	select {
	case table = <-changed:
		close(end)
	case <-time.After(10 * time.Second):
		close(end)
		t.Fatal("the change waited")
	}
	if got := table.Match("a.test").Instance(func(_ *Route, previous any) any { return previous }); got != "first" {
		t.Errorf("the route has inherited %v", got)
	}
	<-compiled
}
