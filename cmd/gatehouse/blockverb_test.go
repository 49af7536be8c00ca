package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatehouse/admin"
	"gatehouse/admin/admintest"
	"gatehouse/edge/iplist"
)

// startBlocks is a node that is alone.
func startBlocks(t *testing.T) *iplist.Blocks {
	t.Helper()
	blocks, err := iplist.OpenBlocks(iplist.BlocksOptions{Path: filepath.Join(t.TempDir(), "blocks.json")})
	if err != nil {
		t.Fatal(err)
	}
	n := admintest.Start(t, sites, admin.Options{
		Node: "n1", Blocks: adminBlocks{&node{blocks: blocks}}, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	})
	t.Chdir(n.Dir)
	return blocks
}

func TestBlocksAreAddedListedAndRemoved(t *testing.T) {
	blocks := startBlocks(t)
	code, out, errOut := invokeWith(t, []string{"USER=ann"}, "block", "add", "203.0.113.0/24", "--for", "2h", "--note", "scraper, \"17\"")
	want(t, errOut, code, exitOK)
	contains(t, "add", out, "blocked: 203.0.113.0/24 for everybody, until 2")
	code, out, errOut = invoke(t, "block", "add", "2001:db8::1", "--tenant", "blog") // which has no document
	want(t, errOut, code, exitOK)
	want(t, "add", out, "blocked: 2001:db8::1/128 for tenant blog, until it is removed (gatehouse block rm)\n")
	want(t, "blocked", blocks.Blocked(netip.MustParseAddr("203.0.113.9"), "shop"), true)

	_, out, _ = invoke(t, "block", "list")
	contains(t, "list", out, "NETWORK", "203.0.113.0/24   -       in 119m  ", "ann", `scraper, "17"`, "2001:db8::1/128  blog    -")
	_, out, _ = invoke(t, "block", "list", "--tenant", "blog", "-o", "csv")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	want(t, "csv", len(lines) == 2 && lines[0] == "network,tenant,until,added,by,note" && strings.HasPrefix(lines[1], "2001:db8::1/128,blog,,2"), true)
	_, out, _ = invoke(t, "block", "list", "-o", "json")
	var list admin.BlockList
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Blocks) != 2 || list.Blocks[0].By != "ann" || list.Node != "n1" {
		t.Error(err, out)
	}
	left := list.Blocks[0].Until.Sub(list.Now)
	want(t, "life", left > 119*time.Minute && left <= 2*time.Hour, true)

	code, _, errOut = invoke(t, "block", "rm", "203.0.113.0/25")
	want(t, "a part", code, exitFailed)
	contains(t, "a part", errOut, "no block of 203.0.113.0/25 for everybody; there is one of 203.0.113.0/24 for everybody")
	code, out, _ = invoke(t, "block", "rm", "203.0.113.0/24")
	want(t, "rm", code, exitOK)
	want(t, "rm", out, "not blocked any more: 203.0.113.0/24 for everybody\n")
	code, _, _ = invoke(t, "block", "rm", "2001:db8::1/128", "--tenant", "blog")
	want(t, "rm", code, exitOK)
	_, out, _ = invoke(t, "block", "list")
	want(t, "list", out, "none\n")
}

func TestAskingBeforeABlockThatMayBeASlip(t *testing.T) {
	blocks := startBlocks(t)
	ssh := []string{"SSH_CLIENT=198.51.100.7 50022 22", "SSH_CONNECTION=198.51.100.7 50022 192.0.2.1 22"}
	for network, says := range map[string]string{
		"198.51.100.0/24":         "it has 198.51.100.7, from which you come",
		"::ffff:198.51.100.0/120": "it has 198.51.100.7, from which you come",
		"10.1.0.0/16":             "it has addresses of trusted_proxies (10.0.0.0/8)",
		"0.0.0.0/0":               "it is all of IPv4; it has 198.51.100.7, from which you come; it has addresses of trusted_proxies",
		"::/0":                    "it is all of IPv6",
	} {
		code, _, errOut := invokeWith(t, ssh, "block", "add", network)
		want(t, network, code, exitUsage)
		contains(t, network, errOut, "not blocked yet: "+says, "no terminal", "--yes")
		for _, answer := range []string{"n\n", "", "yes\n"} {
			blocked := answer == "yes\n"
			var o, e bytes.Buffer
			code := execute(t.Context(), &terminal{In: strings.NewReader(answer), Out: &o, Err: &e, Environ: ssh, answers: true}, []string{"block", "add", network, "--for", "1h"})
			want(t, network+answer, code == exitOK, blocked)
			contains(t, network, e.String(), says, "block it all the same? [y/N] ")
			want(t, network+answer, blocks.Len() == 1, blocked)
		}
		blocks.Replace(nil)
		code, _, errOut = invokeWith(t, ssh, "block", "add", network, "--yes")
		want(t, network+errOut, code, exitOK)
		blocks.Replace(nil)
	}
	// Somebody else's network is nobody's business.
	code, _, errOut := invokeWith(t, ssh, "block", "add", "198.51.101.0/24")
	want(t, errOut, code, exitOK)
}

func TestWhatIsNoBlockIsRefused(t *testing.T) {
	startBlocks(t)
	for args, says := range map[string]string{
		"add 203.0.113.1/24":               "it has bits beyond its prefix; the network is 203.0.113.0/24",
		"add shop.test":                    `bad network "shop.test"`,
		"add 203.0.113.1 --for soon":       "--for",
		"add 203.0.113.1 --for 0s":         "want more than nothing",
		"add":                              "accepts 1 arg(s), received 0",
		"rm 203.0.113.1/24":                "bits beyond",
		"add 203.0.113.1 --tenant= --for=": "is empty",
	} {
		code, _, errOut := invoke(t, append([]string{"block"}, strings.Fields(args)...)...)
		want(t, args, code, exitUsage)
		contains(t, args, errOut, says)
	}
	for args, says := range map[string]string{
		"add 203.0.113.1 --tenant nobody":                    "there is no tenant nobody",
		"add 203.0.113.1 --for 367d":                         "bad time 367d",
		"add 203.0.113.1 --note " + strings.Repeat("x", 201): "200 bytes at most",
	} {
		code, _, errOut := invoke(t, append([]string{"block"}, strings.Fields(args)...)...)
		want(t, args, code, exitFailed)
		contains(t, args, errOut, says)
	}
}

func TestATerminalIsNoOtherDevice(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	want(t, os.DevNull, isTerminal(null), false)
}

// sudo takes SSH_CONNECTION out of the environment; the shell above it has it.
func TestWhoComesBySSHIsFoundAboveSudo(t *testing.T) {
	proc := t.TempDir()
	process := func(pid, parent int, environ ...string) {
		t.Helper()
		dir := filepath.Join(proc, strconv.Itoa(pid))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "environ"), strings.Join(environ, "\x00")+"\x00")
		write(t, filepath.Join(dir, "stat"), fmt.Sprintf("%d (a ) b) S %d 1 1 0", pid, parent))
	}
	process(os.Getppid(), 900_000_001, "PATH=/bin")
	process(900_000_001, 900_000_002, "USER=root")
	process(900_000_002, 1, "A=b", "SSH_CLIENT=2001:db8::7 50022 22", "SSH_CONNECTION=2001:db8::7 50022 2001:db8::1 22")
	ann := netip.MustParseAddr("2001:db8::7")
	want(t, "above", fmt.Sprint(sshCallers([]string{"USER=root"}, proc)), fmt.Sprint([]netip.Addr{ann}))
	want(t, "own", fmt.Sprint(sshCallers([]string{"SSH_CLIENT=198.51.100.7 1 22"}, proc)), "[198.51.100.7]")
	want(t, "nonsense", len(sshCallers([]string{"SSH_CLIENT=x"}, t.TempDir())), 0)
	write(t, filepath.Join(proc, "900000001", "stat"), "x")
	want(t, "a process that cannot be read", len(sshCallers(nil, proc)), 0)
}
