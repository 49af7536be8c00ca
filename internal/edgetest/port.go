package edgetest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// FreePort returns a TCP port of loopback on which nobody listens at the moment,
// and which no other call was given, in this test process or in one that runs beside it. It is none of those that the
// kernel takes for outgoing connections, of which there are thousands while tests run.
func FreePort(t testing.TB) int {
	t.Helper()
	const first, last = 15000, 32000 // below net.ipv4.ip_local_port_range
	for range 1000 {
		port := first + rand.IntN(last-first)
		if !claimPort(port) {
			continue
		}
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue // somebody else's, and it stays claimed
		}
		must(t, "free a port", ln.Close())
		return port
	}
	t.Fatalf("edgetest: no free port from %d to %d", first, last)
	return 0
}

// claimed are the listeners that claim this process's ports: whoever got one may not listen yet.
var claimed sync.Map

// claimPort reports whether the port is this process's from now on. A claim is an abstract socket, of which there is
// no second one of that name on the machine, and which goes with the process (unix(7)).
func claimPort(port int) bool {
	ln, err := net.Listen("unix", fmt.Sprintf("@gatehouse-test-port-%d", port))
	if err != nil {
		return false
	}
	claimed.Store(port, ln) // kept from the collector, which would close it
	return true
}
