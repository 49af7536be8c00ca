package edge

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// A visitor of a denied backend learns nothing; the operator reads who, what and why.
func TestAttackADeniedAddressIsNotConnectedTo(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL), func(o *Options) {
		o.Denied = func(network, address string) string {
			if network == "tcp4" && address == b.Addr {
				return "backends.deny has loopback"
			}
			return ""
		}
	})
	got := n.get(t, "www.shop.test", "/")
	if accepted, _ := b.Connections(); got.Status != 502 || accepted != 0 {
		t.Errorf("status %d, %d connections", got.Status, accepted)
	}
	for _, secret := range []string{b.Addr, "deny", "loopback", "never used"} {
		if strings.Contains(string(got.Body), secret) {
			t.Errorf("the page says %q", secret)
		}
	}
	why := b.Addr + " is never used as a backend: backends.deny has loopback"
	n.waitFor(t, n.log, why)
	n.waitFor(t, n.access, why)
	for _, part := range []string{"tenant=shop", "vhost=www.shop.test", "backend=" + b.URL} {
		if !strings.Contains(n.log.String(), part) {
			t.Errorf("the log has no %s: %s", part, n.log.String())
		}
	}
}

// The name that led to a backend leads elsewhere when it counts: what is looked at is the address that is connected to.
func TestAttackRebindingBetweenLookupAndConnect(t *testing.T) {
	t.Parallel()
	admin, dns := edgetest.NewBackend(t), edgetest.StartNameServer(t)
	_, port, err := net.SplitHostPort(admin.Addr)
	if err != nil {
		t.Fatal(err)
	}
	var answers int
	n := start(t, shopSite("http://app.internal.test:"+port), func(o *Options) {
		o.LookupHost = func(ctx context.Context, host string) ([]netip.Addr, error) {
			if answers++; answers > 1 {
				t.Error("the name was looked up again for the connection")
			}
			return dns.Lookup(ctx, host)
		}
		o.Denied = func(_, address string) string {
			dns.Set("app.internal.test", "10.0.0.1") // too late
			if address == admin.Addr {
				return "own"
			}
			return ""
		}
	})
	dns.Set("app.internal.test", "127.0.0.1")
	got := n.get(t, "www.shop.test", "/")
	if accepted, _ := admin.Connections(); got.Status != 502 || accepted != 0 {
		t.Errorf("status %d, %d connections to the denied address", got.Status, accepted)
	}
}

// Names may lead to what no document could name, in any form of it.
func TestAttackNamesThatLeadToMetadataServices(t *testing.T) {
	t.Parallel()
	dns := edgetest.StartNameServer(t)
	var doc strings.Builder
	doc.WriteString("vhosts:\n")
	addresses := []string{
		"169.254.169.254", "169.254.170.2", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::1", "::a9fe:a9fe",
		"fd00:ec2::254", "fd20:ce::254", "fe80::1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255",
	}
	for i, a := range addresses {
		dns.Set(fmt.Sprintf("n%d.internal.test", i), a)
		fmt.Fprintf(&doc, "  n%d.test:\n    backends: [http://n%d.internal.test]\n", i, i)
	}
	n := start(t, doc.String(), func(o *Options) { o.LookupHost = dns.Lookup })
	for i, a := range addresses {
		if got := n.get(t, fmt.Sprintf("n%d.test", i), "/"); got.Status != 502 {
			t.Errorf("%s: status %d", a, got.Status)
		}
	}
	edgetest.WaitFor(t, "all lines", func() bool { return strings.Count(n.access.String(), "\n") == len(addresses) })
	for line := range strings.Lines(n.access.String()) {
		noIPv6 := strings.Contains(line, "address family not supported") // here: then there is nothing to connect with
		if !noIPv6 && !strings.Contains(line, "never used as a backend: "+ruleNever) {
			t.Errorf("refused for another reason: %s", line)
		}
	}
}

// Of several addresses of a name those that are denied are left out, and the others used.
func TestADeniedAddressAmongOthersIsPassedOver(t *testing.T) {
	t.Parallel()
	b, dns := edgetest.NewBackend(t), edgetest.StartNameServer(t)
	_, port, err := net.SplitHostPort(b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	dns.Set("app.internal.test", "169.254.169.254", "127.0.0.1", "fd00:ec2::254")
	n := start(t, shopSite("http://app.internal.test:"+port), func(o *Options) { o.LookupHost = dns.Lookup })
	for range 4 {
		if got := n.get(t, "www.shop.test", "/"); got.Status != 200 {
			t.Fatalf("status %d", got.Status)
		}
	}
}

// Nodes that do not know each other would hand a request on for ever. Either field tells, whatever drops the other.
func TestAttackALoopOverSeveralNodesEnds(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "waf: {mode: off}"))
	n.get(t, "www.shop.test", "/", "CDN-Loop: other.test")
	sent := b.Requests()[0].Header
	if loops := sent["Cdn-Loop"]; len(loops) != 2 || !strings.HasPrefix(loops[1], nodePrefix) || sent.Get("Via") != "1.1 "+loops[1] {
		t.Fatalf("the backend got Via %q and CDN-Loop %q", sent["Via"], sent["Cdn-Loop"])
	}
	own := sent["Cdn-Loop"][1]
	passed := func(count int, form string) string {
		names := make([]string, count)
		for i := range names {
			names[i] = fmt.Sprintf(form, i)
		}
		return strings.Join(names, ", ")
	}
	for field, status := range map[string]int{
		"Via: 1.1 proxy, HTTP/1.1 " + strings.ToUpper(own):      508,
		"CDN-Loop: other.test; x=1, " + own + "; a=1":           508,
		"Via: " + passed(5, "1.1 gatehouse-n%d-0123"):           508,
		"CDN-Loop: " + passed(5, "gatehouse-n%d-0123;v=1"):      508,
		"Via: " + passed(4, "1.1 gatehouse-n%d-0123"):           200,
		"CDN-Loop: " + passed(4, "gatehouse-n%d-0123"):          200,
		"Via: " + passed(9, "1.1 varnish-%d (gatehouse-a b)"):   200,
		"CDN-Loop: gatehouse, gatehouse-, ,;, " + own + "-more": 200,
	} {
		if got := n.get(t, "www.shop.test", "/", field); got.Status != status {
			t.Errorf("%s: status %d, want %d", field, got.Status, status)
		}
	}
}
