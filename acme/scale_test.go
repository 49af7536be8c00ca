package acme

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// filled is a manager with so many issued certificates in memory, each with a key of its own and a chain as a public CA has it, and the heap that they
// take.
func filled(b testing.TB, count int) (m *Manager, bytes uint64) {
	b.Helper()
	m = newManager(b, Options{Issuer: IssuerACME, ACME: ACME{Directory: "https://127.0.0.1:1/dir"}})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range count {
		name := hostOf(i)
		cert, _, err := m.authority.mint(name)
		if err != nil {
			b.Fatal(err)
		}
		cert.Certificate = append(cert.Certificate, m.authority.cert.Raw)
		text, err := pairPEM(cert)
		if err != nil {
			b.Fatal(err)
		}
		l, err := (&record{PEM: string(text), Directory: m.issuer.accounts[0].conf.Directory}).leaf(SourceACME, name)
		if err != nil {
			b.Fatal(err)
		}
		m.store.tell(name)
		m.store.putIssued(name, l)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	return m, after.HeapAlloc - before.HeapAlloc
}

func hostOf(i int) string { return fmt.Sprintf("www.customer-%d.test", i) }

// BenchmarkHeldCertificate is a look-up among many certificates.
func BenchmarkHeldCertificate(b *testing.B) {
	count := 100_000
	if testing.Short() {
		count = 1000
	}
	m, bytes := filled(b, count)
	hellos := make([]*tls.ClientHelloInfo, 4096)
	for i := range hellos {
		hellos[i] = hello(hostOf(i * 7919 % count))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if cert, err := m.GetCertificate(hellos[i&4095]); cert == nil || err != nil {
			b.Fatal(err)
		}
		i++
	}
	b.ReportMetric(float64(bytes)/float64(count), "heap-B/cert")
}

// mostPerCertificate bounds what a certificate in memory takes of the heap, with its key, a chain of two and its place in the table.
const mostPerCertificate = 2 << 10

// A look-up among many certificates costs the collector nothing, and each of them little memory.
func TestLookUpAmongManyCertificatesNeedsNoAllocation(t *testing.T) {
	const count = 2000
	m, bytes := filled(t, count)
	if per := bytes / count; per > mostPerCertificate {
		t.Errorf("a certificate takes %d bytes of the heap, want %d at most", per, mostPerCertificate)
	}
	hellos := make([]*tls.ClientHelloInfo, 256)
	for i := range hellos {
		hellos[i] = hello(hostOf(i * 7919 % count))
	}
	i := 0
	allocs := testing.AllocsPerRun(2*len(hellos), func() {
		if cert, err := m.GetCertificate(hellos[i%len(hellos)]); cert == nil || err != nil {
			t.Fatal(cert, err)
		}
		i++
	})
	if allocs > 0 {
		t.Errorf("a look-up makes %v allocations", allocs)
	}
	t.Logf("%d bytes of the heap for each certificate", bytes/count)
}

// A start with many certificates in the folder: the first handshake waits for its own alone.
func TestFirstHandshakeAfterAStartWaitsForItsOwnCertificateAlone(t *testing.T) {
	count := 2000
	if os.Getenv("CERTIFICATES") != "" {
		if _, err := fmt.Sscan(os.Getenv("CERTIFICATES"), &count); err != nil {
			t.Fatal(err)
		}
	}
	o := Options{Data: t.TempDir(), Issuer: IssuerACME, ACME: ACME{Directory: "https://127.0.0.1:1/dir"}}
	first := newManager(t, o)
	changes := make([]Change, count)
	for i := range changes {
		changes[i].Name = hostOf(i)
		cert, _, err := first.authority.mint(changes[i].Name)
		if err != nil {
			t.Fatal(err)
		}
		text, err := pairPEM(cert)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(first.issuer.vault.dir, changes[i].Name+".pem"), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	begin := time.Now()
	m := newManager(t, o)
	made := time.Since(begin)
	m.Update(changes)
	told := time.Since(begin)
	begin = time.Now()
	if !m.Trusted(hostOf(count - 1)) {
		t.Error("the certificate of the folder is not served")
	}
	shake := time.Since(begin)
	run(t, m)
	begin = time.Now()
	eventually(t, "all to be in memory", func() bool { return m.store.count().issued == count })
	t.Logf("%d certificates: made in %v, told the names after %v; the first handshake's look-up %v, all in memory after %v", count, made, told, shake, time.Since(begin))
}
