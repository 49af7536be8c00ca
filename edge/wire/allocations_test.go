//go:build !race

package wire

import (
	"io"
	"math"
	"net"
	"testing"
)

// The most allocations of one request on a connection that is kept, from its first
// byte to the end of its body: what was measured when it was set. A change that saves
// some lowers the number; BenchmarkRequest shows times and bytes. The race detector
// allocates, so this runs without it.
var allocationBudgets = map[string]float64{"get": 1, "form": 1, "chunked": 1} // the target, as a string

func TestAllocationsOfARequest(t *testing.T) {
	for _, kind := range requestKinds {
		t.Run(kind.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			real, err := net.Dial("tcp", ln.Addr().String()) // keeps the deadlines
			if err != nil {
				t.Fatal(err)
			}
			defer real.Close()
			client := &endless{Conn: real, request: kind.request, left: math.MaxInt}
			c := newConn(newSocket(client, openDoor(Limits{Requests: -1})), nil).(*Conn)
			scratch := make([]byte, 1<<10)
			var failed error
			got := testing.AllocsPerRun(500, func() {
				if err := c.Next(); err != nil {
					failed = err
					return
				}
				for h := c.Head(); h.Length != 0; {
					if _, err := c.Body().Read(scratch); err == io.EOF {
						break
					} else if err != nil {
						failed = err
						return
					}
				}
				c.Sent()
			})
			if failed != nil {
				t.Fatal(failed)
			}
			if got > allocationBudgets[kind.name] {
				t.Errorf("%v allocations per request, the budget is %v", got, allocationBudgets[kind.name])
			}
		})
	}
}
