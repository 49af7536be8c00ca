package iplist

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"
)

func mustParse(t testing.TB, text string) *Networks {
	t.Helper()
	n, err := ParseList([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNetworks(t *testing.T) {
	n := mustParse(t, "\ufeff# a comment\r\n192.0.2.0/24 ; SBL1\n\n  198.51.100.7 # one\n2001:db8::/32\n::ffff:203.0.113.0/120\n")
	if n.Len() != 4 {
		t.Errorf("%d networks", n.Len())
	}
	for text, want := range map[string]bool{
		"192.0.2.0": true, "192.0.2.255": true, "192.0.3.0": false, "198.51.100.7": true, "198.51.100.8": false,
		"2001:db8:ffff::1": true, "2001:db9::": false, "203.0.113.9": true,
		"::ffff:192.0.2.1": true, "::ffff:192.0.3.1": false, // an IPv4 client on an IPv6 socket
		"2001:db8::1%eth0": true,
	} {
		if got := n.Has(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	if n.Has(netip.Addr{}) || (*Networks)(nil).Has(netip.MustParseAddr("192.0.2.1")) || (*Networks)(nil).Len() != 0 {
		t.Error("nothing is in something")
	}
}

func TestABadLineMakesTheListBadAndIsNamed(t *testing.T) {
	for text, line := range map[string]int{
		"10.0.0.0/8\n\n10.1.2.3/8\n": 3,
		"<html>\n":                   1,
		"# ok\n10.0.0.1, 10.0.0.2\n": 2,
		"10.0.0.0/8\n\x00\n":         2,
		"all\n":                      1, // a word of documents
		strings.Repeat("9", 1<<20):   1,
	} {
		_, err := ParseList([]byte(text))
		bad, ok := errors.AsType[*LineError](err)
		if !ok || bad.Line != line || len(err.Error()) > 250 {
			t.Errorf("%.40q: %v, want line %d", text, err, line)
		}
	}
	if _, err := ParseList(make([]byte, MaxListBytes+1)); err == nil {
		t.Error("no bound")
	}
}

// A tenant's document may name any file of the node as a list: what is said of it is shown to the tenant.
func TestAttackALineOfAFileIsReadAsABadList(t *testing.T) {
	for _, line := range []string{"root:x:0:0:root:/root:/bin/bash", "10.9.8.7/8", "::ffff:10.9.8.7/90", "fe80::1%secret"} {
		_, err := ParseList([]byte("192.0.2.1\n" + line + "\n"))
		bad, ok := errors.AsType[*LineError](err)
		if !ok || strings.Contains(err.Error(), "root") || strings.Contains(err.Error(), "9.8.7") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", line, err)
		} else if !strings.Contains(bad.Err.Error(), line) {
			t.Errorf("%q: who can read the list is not told: %v", line, bad.Err)
		}
	}
}

func FuzzParseList(f *testing.F) {
	for _, seed := range []string{"10.0.0.0/8\n", "# x\n::1;y\r\n", "::ffff:1.2.3.4/120", "10.0.0.0/8\x00", "\ufeff1.1.1.1"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		n, err := ParseList(text)
		if err != nil {
			if n != nil {
				t.Error("half a list")
			}
			return
		}
		count := 0
		for p := range n.table.All() {
			count++
			if p != p.Masked() || p.Addr().Is4In6() || !n.Has(p.Addr()) {
				t.Errorf("%v is no network of the list", p)
			}
		}
		if count > n.Len() {
			t.Errorf("%d networks of %d lines", count, n.Len())
		}
	})
}

// bigList is one as large as the public ones: count networks of both families, of all lengths.
func bigList(count int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var out []byte
	for range count {
		var p netip.Prefix
		if random.IntN(4) > 0 {
			p = netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(1 + random.IntN(223)), byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32())}), 16+random.IntN(17))
		} else {
			a := [16]byte{0x20, byte(random.Uint32())}
			for i := 2; i < 8; i++ {
				a[i] = byte(random.Uint32())
			}
			p = netip.PrefixFrom(netip.AddrFrom16(a), 24+random.IntN(41))
		}
		out = fmt.Appendf(out, "%s\n", p.Masked())
	}
	return out
}

// What operators were promised for 100,000 networks: 10 MB, and a second, which is the machine's affair, too.
func TestAHundredThousandNetworks(t *testing.T) {
	text := bigList(100_000)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	begin := time.Now()
	n := mustParse(t, string(text))
	took := time.Since(begin)
	runtime.GC()
	runtime.ReadMemStats(&after)
	size := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%v, %.1f MB", took, float64(size)/1e6)
	if size > 10e6 {
		t.Errorf("%d bytes", size)
	}
	runtime.KeepAlive(n)
}

func BenchmarkParse100K(b *testing.B) {
	text := bigList(100_000)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := ParseList(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHas100K(b *testing.B) {
	n := mustParse(b, string(bigList(100_000)))
	for name, text := range map[string]string{"v4": "192.0.2.77", "v6": "2001:db8::1", "v4in6": "::ffff:192.0.2.77"} {
		a := netip.MustParseAddr(text)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				n.Has(a)
			}
		})
	}
}
