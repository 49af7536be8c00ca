package main

import (
	"net"
	"net/netip"
	"path/filepath"
	"testing"

	"gatehouse/internal/edgetest"
	"gatehouse/internal/redisconn"
)

func TestBackendsThatTheSettingsDeny(t *testing.T) {
	t.Parallel()
	cfg, problems := load(t, "backends: {deny: [loopback, private, unix, 192.0.2.0/24, \"2001:db8::/32\"], allow: [10.1.0.0/16, 127.0.0.1, \"fd00:1::/64\"]}\n", nil, nil)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	for address, rule := range map[string]string{
		"127.0.0.2": "loopback", "::1": "loopback", "127.0.0.1": "", "::ffff:127.0.0.2": "loopback", "::ffff:127.0.0.1": "",
		"10.2.0.1": "private", "10.1.2.3": "", "172.16.0.1": "private", "172.32.0.1": "", "192.168.1.1": "private", "100.64.0.1": "private", "fd00::1": "private",
		"fd00:1::5": "", "64:ff9b::10.2.0.1": "private", "64:ff9b::10.1.0.1": "", "2002:a02:1::": "private",
		"192.0.2.9": "192.0.2.0/24", "2001:db8::9": "2001:db8::/32", "203.0.113.1": "", "fd00::1%eth0": "private",
	} {
		want(t, address, cfg.Backends.denies("tcp", netip.MustParseAddr(address)), rule)
	}
	want(t, "a socket", cfg.Backends.denies("unix", netip.Addr{}), "unix")
	open, problems := load(t, "", nil, nil)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"127.0.0.1", "10.0.0.1", "::1"} { // as a panel on the same machine has it
		want(t, address+" by default", open.Backends.denies("tcp", netip.MustParseAddr(address)), "")
	}
	want(t, "a socket by default", open.Backends.denies("unix", netip.Addr{}), "")
}

func TestNetworksThatAreNone(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		"backends: {deny: [localhost]}":         `bad network "localhost": want a CIDR, such as "10.0.0.0/8", loopback, private or unix`,
		"backends: {deny: [10.1.2.3/8]}":        "the network is 10.0.0.0/8",
		"backends: {deny: [10.0.0.0/33]}":       "bad network",
		"backends: {allow: [loopback]}":         "backends.allow: it has exceptions to backends.deny, which denies nothing",
		"backends: {deny: [\"fe80::1%eth0\"]}":  "bad network",
		"backends: {deny: [{words: loopback}]}": "backends.deny[0]",
	} {
		_, problems := load(t, text+"\n", nil, nil)
		contains(t, text, problems.Error(), says)
	}
	cfg, problems := load(t, "", []string{"GATEHOUSE_BACKENDS_DENY=loopback, 10.0.0.0/8"}, map[string]string{"backends.allow": "10.0.0.1"})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	want(t, "from the environment", cfg.text("backends.deny"), "loopback,10.0.0.0/8")
	want(t, "from a flag", cfg.text("backends.allow"), "10.0.0.1/32")
}

const ownRule = "it is this node's own listener, socket or Redis"

// A backend that is this node itself is a loop, or the way to its admin port. Other spellings lead there, too.
func TestAttackOwnListenersAreNoBackends(t *testing.T) {
	t.Parallel()
	cfg, problems := load(t, "data: "+t.TempDir()+"\n", nil, nil)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	n := &node{cfg: cfg}
	listen := func(address string) (net.Listener, string) {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		_, port, err := net.SplitHostPort(ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return ln, port
	}
	var everywhere, admin string
	n.http, everywhere = listen(":0")
	n.admin, admin = listen("127.0.0.1:0")
	socket, err := net.Listen("unix", cfg.Socket())
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	own := []string{
		"127.0.0.1:" + admin, "[::ffff:127.0.0.1]:" + admin, "[64:ff9b::127.0.0.1]:" + admin, "[2002:7f00:1::]:" + admin, "[::127.0.0.1]:" + admin,
		"127.0.0.1:" + everywhere, "127.9.9.9:" + everywhere, "[::1]:" + everywhere,
	}
	for _, a := range interfaces {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, netip.AddrPortFrom(prefix.Addr(), netip.MustParseAddrPort("0.0.0.0:"+everywhere).Port()).String())
		}
	}
	for _, address := range own {
		want(t, address, n.denied("tcp", address), ownRule)
	}
	want(t, "the socket", n.denied("unix", cfg.Socket()), ownRule)
	want(t, "another spelling of the socket", n.denied("unix", filepath.Dir(cfg.Socket())+"/./"+filepath.Base(cfg.Socket())), ownRule)
	for _, address := range []string{"127.0.0.2:" + admin, "127.0.0.1:1", "192.0.2.1:" + everywhere} {
		want(t, address, n.denied("tcp", address), "")
	}
}

// Where Redis listens beside the address that it is named by nobody knows: on this machine all addresses are refused at its port, elsewhere all
// that its name has. Whoever reaches it writes the routes of all tenants.
func TestAttackRedisIsNoBackendAtItsOtherAddresses(t *testing.T) {
	t.Parallel()
	cfg, problems := load(t, "data: "+t.TempDir()+"\n", nil, nil)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	names := map[string][]netip.Addr{
		"here.test":  {netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("::1")},
		"there.test": {netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("64:ff9b::198.51.100.3")},
	}
	lookup := func(host string) ([]netip.Addr, error) {
		if ip, err := netip.ParseAddr(host); err == nil {
			return []netip.Addr{ip}, nil
		}
		return names[host], nil
	}
	local := []string{"127.0.0.1", "127.0.0.2", "127.255.255.254", "::1", "::ffff:127.0.0.1", "::ffff:127.0.0.2", "64:ff9b::127.0.0.2", "2002:7f00:2::", "0.0.0.0", "::"}
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	outside := "::1"
	for _, a := range interfaces {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			outside = prefix.Addr().String()
			local = append(local, outside)
		}
	}
	remote := []string{"198.51.100.1", "198.51.100.2", "198.51.100.3", "2001:db8::1", "::ffff:198.51.100.2", "64:ff9b::198.51.100.2", "2001:db8::1%eth0"}
	for server, at := range map[string]struct{ refused, others []string }{
		"127.0.0.1": {local, remote}, "::1": {local, remote}, "127.0.0.2": {local, remote}, "0.0.0.0": {local, remote}, outside: {local, remote},
		"here.test": {local, remote[1:4]}, "there.test": {remote, local}, "198.51.100.9": {nil, append(local, remote...)},
	} {
		client, err := redisconn.Open(redisconn.Options{Addrs: []string{net.JoinHostPort(server, "23379")}})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		for which, n := range map[string]*node{"routes": {cfg: cfg, redis: client, lookupHost: lookup}, "shared": {cfg: cfg, shared: client, lookupHost: lookup}} {
			for _, address := range at.refused {
				want(t, which+" at "+server+": "+address, n.denied("tcp", net.JoinHostPort(address, "23379")), ownRule)
				want(t, which+" at "+server+": another port of "+address, n.denied("tcp", net.JoinHostPort(address, "23380")), "")
			}
			for _, address := range at.others {
				want(t, which+" at "+server+": "+address, n.denied("tcp", net.JoinHostPort(address, "23379")), "")
			}
		}
	}
}

// Servers that only Sentinels or a Cluster name are ours likewise.
func TestAttackServersThatSentinelsNameAreNoBackendsAtOtherAddresses(t *testing.T) {
	t.Parallel()
	cfg, problems := load(t, "data: "+t.TempDir()+"\n", nil, nil)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	master := edgetest.Redis(t)
	_, port, err := net.SplitHostPort(master.Addr())
	if err != nil {
		t.Fatal(err)
	}
	sentinel := edgetest.Sentinel(t, port)
	client, err := redisconn.Open(redisconn.Options{Addrs: []string{sentinel.Addr()}, Master: "main"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	n := &node{cfg: cfg, redis: client}
	edgetest.WaitFor(t, "the master that the Sentinel names", func() bool {
		session, err := client.Session(t.Context())
		return err == nil && session.Close() == nil
	})
	for _, server := range []string{sentinel.Addr(), master.Addr()} {
		_, port, err := net.SplitHostPort(server)
		if err != nil {
			t.Fatal(err)
		}
		for _, address := range []string{"127.0.0.1", "127.0.0.2", "::1"} {
			want(t, server+", as "+address, n.denied("tcp", net.JoinHostPort(address, port)), ownRule)
		}
	}
}

// check says it before a visitor does.
func TestCheckWarnsOfBackendsThatAreDenied(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, configFile), "backends: {deny: [loopback, unix], allow: [127.0.0.2]}\n")
	write(t, filepath.Join(dir, "conf.d", "a.yaml"), "vhosts:\n  a.test:\n    backends: [http://127.0.0.2, http://127.0.0.1:9000, \"unix:/run/app.sock\", http://app.test]\n")
	c := newChecker()
	c.named([]string{filepath.Join(dir, configFile), filepath.Join(dir, "conf.d")})
	report := c.report()
	if !report.OK || len(report.Warnings) != 2 {
		t.Fatalf("report: %+v", report)
	}
	contains(t, "warnings", report.Warnings.Error(), "a.yaml:3", "backends[1]: backends.deny has loopback", "backends[2]: backends.deny has unix")
}
