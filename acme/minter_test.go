package acme

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestConcurrentFirstHandshakesMintOnce(t *testing.T) {
	m := newManager(t, Options{})
	var signed atomic.Int64
	sign := m.minter.sign
	m.minter.sign = func(name string) (*tls.Certificate, time.Time, error) {
		signed.Add(1)
		return sign(name)
	}
	certs := make([]*tls.Certificate, 64)
	start := make(chan struct{})
	var callers sync.WaitGroup
	for i := range certs {
		callers.Go(func() {
			<-start
			cert, err := m.GetCertificate(hello("a.test"))
			if err != nil {
				t.Error(err)
			}
			certs[i] = cert
		})
	}
	close(start)
	callers.Wait()
	if signed.Load() != 1 {
		t.Errorf("%d certificates were minted", signed.Load())
	}
	for _, cert := range certs {
		if cert == nil || cert != certs[0] {
			t.Fatal("callers got different certificates")
		}
	}
}

func TestFloodBelowAWildcardNeitherGrowsNorEvictsNamedOnes(t *testing.T) {
	m := newManager(t, Options{MaxMinted: 8})
	m.Update([]Change{{Name: "www.shop.test"}, {Name: "*.flood.test"}})
	named, err := m.GetCertificate(hello("www.shop.test"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		served(t, m, fmt.Sprintf("x%d.flood.test", i))
	}
	if n := m.minter.count(); n > 8 {
		t.Errorf("%d certificates are held, bound is 8", n)
	}
	again, err := m.GetCertificate(hello("www.shop.test"))
	if err != nil || again != named {
		t.Errorf("the named certificate was minted again (%v)", err)
	}
}

func TestLeastRecentlyUsedGoesFirst(t *testing.T) {
	s := newMintShards(2)[0]
	for _, name := range []string{"a", "b", "c"} {
		if name == "c" {
			s.recent.MoveToFront(s.held["a"])
		}
		s.put(&mintedLeaf{name: name})
	}
	if s.held["b"] != nil || s.held["a"] == nil || s.held["c"] == nil {
		t.Errorf("held is %v, want a and c", s.held)
	}
}

func TestMintedCertificateIsRenewedBeforeItExpires(t *testing.T) {
	data := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, Options{Data: data})
		first := served(t, m, "a.test")
		time.Sleep(4 * 24 * time.Hour)
		if !served(t, m, "a.test").Equal(first) {
			t.Error("renewed after four of seven days")
		}
		time.Sleep(24 * time.Hour)
		second := served(t, m, "a.test")
		if second.Equal(first) || time.Now().After(first.NotAfter) {
			t.Error("not renewed after five of seven days")
		}
	})
}

func TestFailedMintIsToldToAllAndForgotten(t *testing.T) {
	m := newManager(t, Options{})
	sign := m.minter.sign
	m.minter.sign = func(string) (*tls.Certificate, time.Time, error) {
		return nil, time.Time{}, errors.New("no randomness")
	}
	if _, err := m.GetCertificate(hello("a.test")); err == nil || !strings.Contains(err.Error(), "no randomness") {
		t.Errorf("error is %v", err)
	}
	m.minter.sign = sign
	if served(t, m, "a.test") == nil {
		t.Error("no certificate after the fault was gone")
	}
}

func TestRemovedNameIsForgotten(t *testing.T) {
	m := newManager(t, Options{})
	m.Update([]Change{{Name: "a.test"}})
	first := served(t, m, "a.test")
	m.Update([]Change{{Name: "a.test", Removed: true}})
	if len(m.List()) != 0 || m.minter.count() != 0 {
		t.Error("the name is still held")
	}
	if served(t, m, "a.test").Equal(first) {
		t.Error("the old certificate is served")
	}
}

func TestRenewMintsAgainOnlyForInternalNames(t *testing.T) {
	m := newManager(t, Options{})
	m.Update([]Change{{Name: "a.test"}, {Name: "*.b.test"}})
	first := served(t, m, "a.test")
	if err := m.Renew("a.test"); err != nil {
		t.Fatal(err)
	}
	if served(t, m, "a.test").Equal(first) {
		t.Error("Renew left the old certificate")
	}
	for _, name := range []string{"c.test", "*.b.test", "1.2.3.4"} {
		if m.Renew(name) == nil {
			t.Errorf("Renew(%q) succeeded", name)
		}
	}
}
