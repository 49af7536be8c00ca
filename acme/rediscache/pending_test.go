package rediscache

import (
	"fmt"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// Orders that a node has under way when it ends are brought to their end by another one: they cost no further orders.
func TestOrdersOfANodeThatEndsAreGoneOnWith(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	placed := func() int { return strings.Count(f.pebble.Log(), "Added order") }
	var hosts []string
	for n := range 3 {
		hosts = append(hosts, fmt.Sprintf("h%d.shop.test", n))
	}
	f.answers.Lock() // validation takes its time
	first := f.join(t, "n1", t.TempDir(), nil, hosts...)
	edgetest.WaitFor(t, "all to be ordered and noted", func() bool {
		return strings.Count(f.redis.CLI("KEYS", "*:order"), "cert:{") == len(hosts)
	})
	first.stop()
	f.mu.Lock()
	f.nodes = nil
	f.mu.Unlock()
	second := f.join(t, "n2", t.TempDir(), nil, hosts...)
	f.answers.Unlock()
	for _, host := range hosts {
		edgetest.WaitFor(t, "a certificate of "+host, func() bool { return second.serves(t, host) != nil })
	}
	if placed() != len(hosts) || f.orders() != len(hosts) || f.invalid() != 0 || f.accounts() != 1 {
		t.Errorf("%d orders of %d names, %d certificates, %d failed validations, %d accounts", placed(), len(hosts), f.orders(), f.invalid(), f.accounts())
	}
	edgetest.WaitFor(t, "the orders to be forgotten", func() bool { return f.redis.CLI("KEYS", "*:order") == "" })
}
