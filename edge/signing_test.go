package edge

import (
	"crypto"
	"crypto/tls"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/internal/edgetest"
)

// slowKey counts who signs at a time.
type slowKey struct {
	crypto.Signer
	now, most *atomic.Int64
}

func (k slowKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	n := k.now.Add(1)
	defer k.now.Add(-1)
	for {
		most := k.most.Load()
		if n <= most || k.most.CompareAndSwap(most, n) {
			break
		}
	}
	time.Sleep(time.Second)
	return nil, nil
}

func TestPrivateKeyOperationsAreBounded(t *testing.T) {
	leaf := edgetest.NewCA(t).Issue(t, "a.test")
	synctest.Test(t, func(t *testing.T) {
		var s signing
		s.init()
		bound := signersPerProcessor * runtime.GOMAXPROCS(0)
		var now, most, failed, done atomic.Int64
		cert := &tls.Certificate{PrivateKey: slowKey{leaf.TLS.PrivateKey.(crypto.Signer), &now, &most}}
		for n := range 4 * bound { // in turns of a second each
			go func() {
				var key turnKey
				if !key.hold(cert, &s, []string{"tenant a", "tenant b"}[n%2], time.Now().Add(2500*time.Millisecond)) {
					t.Error("the key is not taken")
				}
				switch _, err := key.Sign(nil, nil, nil); err {
				case nil:
					done.Add(1)
				case errSigning:
					failed.Add(1)
				default:
					t.Error(err)
				}
			}()
		}
		synctest.Wait()
		if n := s.waiting.Load(); n != int64(3*bound) {
			t.Errorf("%d wait, want %d", n, 3*bound)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if most.Load() != int64(bound) || done.Load() != int64(3*bound) || failed.Load() != int64(bound) || s.waiting.Load() != 0 {
			t.Errorf("%d at a time, %d done, %d given up, %d wait; want %d, %d, %d, 0", most.Load(), done.Load(), failed.Load(), s.waiting.Load(), bound, 3*bound, bound)
		}
	})
}

// A handshake that has no turn to sign ends with its time, and counts as busy.
func TestHandshakeWithoutATurnToSignEnds(t *testing.T) {
	g := guard(t, policies, func(o *Options) { o.Limits.Handshake = 500 * time.Millisecond })
	by := time.Now().Add(time.Minute)
	for n := range g.signing.all {
		if err := g.signing.enter([]string{"tenant a", "tenant b"}[n%2], by); err != nil {
			t.Fatal(err)
		}
	}
	if got := g.status(t, g.client("usual.test"), "usual.test"); got != 0 {
		t.Errorf("status %d", got)
	}
	name := `gatehouse_tls_handshakes_failed_total{reason="busy"}`
	edgetest.WaitFor(t, name, func() bool { return series(t, g.metrics, name) == 1 })
	for n := range g.signing.all {
		g.signing.leave([]string{"tenant a", "tenant b"}[n%2])
	}
	if got := g.status(t, g.client("usual.test"), "usual.test"); got != 200 {
		t.Errorf("then: status %d", got)
	}
}

// A tenant whose key takes seconds to sign with, and whose sites are flooded with handshakes, does not take the turns of others.
func TestSlowKeyOfATenantLeavesTurnsToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s signing
		s.init()
		by := time.Now().Add(10 * time.Second)
		flood := func(owner string) {
			for range 4 * s.all {
				go func() {
					if s.enter(owner, by) == nil {
						time.Sleep(7 * time.Second) // of the fake clock
						s.leave(owner)
					}
				}()
			}
		}
		flood("tenant slow")
		synctest.Wait()
		if s.busy != s.each || s.waiting.Load() != int64(4*s.all-s.each) {
			t.Errorf("%d sign and %d wait, want %d and %d", s.busy, s.waiting.Load(), s.each, 4*s.all-s.each)
		}
		for range s.all { // one after another
			at := time.Now()
			if err := s.enter("tenant quick", by); err != nil || time.Since(at) > 0 {
				t.Fatalf("another tenant waits for %v: %v", time.Since(at), err)
			}
			s.leave("tenant quick")
		}
		flood("tenant other")
		synctest.Wait()
		at := time.Now()
		if err := s.enter("tenant quick", by); err != nil || time.Since(at) > 7*time.Second {
			t.Errorf("beside two that have all turns it waits for %v: %v", time.Since(at), err)
		} else {
			s.leave("tenant quick")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if s.busy != 0 || s.waiting.Load() != 0 || len(s.owners) != 0 || s.queue.Len() != 0 {
			t.Errorf("left behind: %d busy, %d wait, %d owners, %d in the queue", s.busy, s.waiting.Load(), len(s.owners), s.queue.Len())
		}
	})
}

// The turns are those of the tenant whose site the handshake is for.
func TestHandshakeHasTheTurnsOfItsTenant(t *testing.T) {
	g := guard(t, policies)
	for range g.signing.each {
		if err := g.signing.enter(g.ownerOfName("usual.test"), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if g.ownerOfName("usual.test") == g.ownerOfName("modern.test") {
		t.Fatal("both sites are one owner's")
	}
	if got := g.status(t, g.client("modern.test"), "modern.test"); got != 200 {
		t.Errorf("status %d of another owner's site", got)
	}
}

// quickKey is a key that does nothing, so that a benchmark sees what a turn costs.
type quickKey struct{ crypto.Signer }

func (quickKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, nil }

func BenchmarkTurnToSign(b *testing.B) {
	var s signing
	s.init()
	cert := &tls.Certificate{PrivateKey: &quickKey{}}
	by := time.Now().Add(time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		p := passages.Get().(*passage)
		p.key.hold(cert, &s, "tenant a", by)
		p.cert = *cert
		p.cert.PrivateKey = &p.key
		if _, err := p.key.Sign(nil, nil, nil); err != nil {
			b.Fatal(err)
		}
		*p = passage{}
		passages.Put(p)
	}
}

func BenchmarkTermsOfAHandshake(b *testing.B) {
	ca := edgetest.NewCA(b)
	g := guard(b, policies+"  mtls.test: {backends: [BACKEND], tls: {client_auth: {mode: required, ca: "+caFile(b, ca)+"}}}\n")
	room := make([]byte, 0, 300)
	for _, sni := range []string{"usual.test", "modern.test", "mtls.test"} {
		hello := &tls.ClientHelloInfo{ServerName: sni, SupportedProtos: []string{"h2", "http/1.1"}}
		b.Run(sni, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := g.configFor(hello); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(sni+" binding", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				g.AppendBinding(room, sni)
			}
		})
	}
}
