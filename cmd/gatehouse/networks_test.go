package main

import (
	"net"
	"net/netip"
	"path/filepath"
	"testing"
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
	const rule = "it is this node's own listener, socket or Redis"
	for _, address := range own {
		want(t, address, n.denied("tcp", address), rule)
	}
	want(t, "the socket", n.denied("unix", cfg.Socket()), rule)
	want(t, "another spelling of the socket", n.denied("unix", filepath.Dir(cfg.Socket())+"/./"+filepath.Base(cfg.Socket())), rule)
	for _, address := range []string{"127.0.0.2:" + admin, "127.0.0.1:1", "192.0.2.1:" + everywhere} {
		want(t, address, n.denied("tcp", address), "")
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
