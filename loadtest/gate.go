package loadtest

import (
	"context"
	"runtime"
)

// A gate lets few handshakes compute at once. What they compute takes long: were
// thousands ready to run, whoever ends the run or looks for timeouts would wait seconds
// for its turn among them, and each would have to run once more before the end. Those
// at the gate wait for the processor as they would without it, and leave when the run
// does.
//
// A handshake has two doors, for its beginning and for the rest, so that not all begin
// before the first one ends.
type gate struct {
	doors [2]chan struct{}
	over  context.Context
}

func newGate(ctx context.Context) *gate {
	g := &gate{over: ctx}
	for i := range g.doors {
		g.doors[i] = make(chan struct{}, runtime.GOMAXPROCS(0))
	}
	return g
}

// enter returns when there is room (true), or with an error when the run is over.
func (g *gate) enter(door int) (bool, error) {
	select {
	case g.doors[door] <- struct{}{}:
		return true, nil
	case <-g.over.Done():
		return false, g.over.Err()
	}
}

func (g *gate) leave(door int) { <-g.doors[door] }
