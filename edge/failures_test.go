package edge

import (
	"fmt"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// A line for each request of a site whose backend is dead would be thousands in a second, in which others' lines are lost.
func TestADeadBackendIsToldOnceAndNotWithEachRequest(t *testing.T) {
	t.Parallel()
	n := start(t, "vhosts:\n  a.test: {backends: [http://127.0.0.1:1]}\n  b.test: {backends: [http://127.0.0.1:1]}\n")
	conn := edgetest.Dial(t, n.http) // one for all: each is accounted for before the next is read
	for i := range 300 {
		if got := conn.Do("GET", head("GET", "a.test", fmt.Sprint("/", i))+"\r\n"); got.Status != 502 {
			t.Fatalf("status %d", got.Status)
		}
	}
	conn.Do("GET", head("GET", "b.test", "/")+"\r\n")
	n.waitFor(t, n.log, "vhost=b.test")
	log := n.log.String()
	if got := strings.Count(log, "request failed"); got != 2 {
		t.Errorf("%d lines:\n%s", got, log)
	}
	n.waitFor(t, n.access, "/299")
}
