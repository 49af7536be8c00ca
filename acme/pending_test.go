package acme

import (
	"bytes"
	"encoding/pem"
	"os"
	"testing"
	"time"
)

// What a node had ordered and was ended before it could fetch or keep is fetched by the next one: no second order.
func TestCertificateOfAnOrderThatEndedUnseenIsFetched(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteOptions{http: true, known: []string{"shop.test"}})
	ctx, a := t.Context(), s.issuer.accounts[0]
	if err := a.prepare(ctx); err != nil {
		t.Fatal(err)
	}
	p := &pending{Directory: a.conf.Directory, Names: []string{"shop.test"}}
	w := wantedCert{names: p.Names, challenge: challengeHTTP, keyed: func(key string) { p.Key = key }}
	end := a.gate.allow(p.Names, permit{}, func(url string) { p.URL, p.Placed = url, time.Now() })
	text, err := a.order(ctx, w, s.issuer.solver)
	end()
	if err != nil || p.URL == "" || p.Key == "" {
		t.Fatalf("%+v, %v", p, err)
	}
	v := s.issuer.vault
	v.putPending(ctx, "shop.test", p)

	run(t, s.Manager)
	s.Update([]Change{{Name: "shop.test"}})
	x := s.issued(t, "shop.test", nil)
	if block, _ := pem.Decode(text[bytes.Index(text, []byte("-----BEGIN CERTIFICATE")):]); !bytes.Equal(x.Raw, block.Bytes) || s.orders() != 1 {
		t.Errorf("another certificate, by %d orders", s.orders())
	}
	eventually(t, "the order to be forgotten", func() bool { _, err := os.Stat(v.orderFile("shop.test")); return os.IsNotExist(err) })

	// What is noted and over, too old, for other names, of another issuer or nonsense is no order to go on with.
	old := *p
	for name, change := range map[string]func(p *pending){
		"it has ended, and is held": func(*pending) {},
		"of the past":               func(p *pending) { p.Placed = p.Placed.Add(-pendingLife - time.Minute) },
		"of other names":            func(p *pending) { p.Names = []string{"shop.test", "www.shop.test"} },
		"of another issuer":         func(p *pending) { p.Directory = "https://ca.test/" },
		"that the issuer forgot":    func(p *pending) { p.URL += "x" },
		"without its key":           func(p *pending) { p.Key = "" },
	} {
		*p = old
		change(p)
		v.putPending(ctx, "shop.test", p)
		if text, resumed, err := s.issuer.resume(ctx, a, "shop.test", wantedCert{names: old.Names, challenge: challengeHTTP}); resumed || text != nil || err != nil {
			t.Errorf("an order %s: %t, %v", name, resumed, err)
		}
	}
	if err := writeFile(v.orderFile("shop.test"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if p := v.pending(ctx, "shop.test"); p != nil {
		t.Errorf("read from nonsense: %+v", p)
	}
	if err := s.Renew("shop.test"); err != nil {
		t.Fatal(err)
	}
	s.issued(t, "shop.test", x)
	if s.orders() != 2 {
		t.Errorf("%d orders, want 2", s.orders())
	}
}
