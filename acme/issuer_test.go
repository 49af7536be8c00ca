package acme

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	xacme "golang.org/x/crypto/acme"

	"gatehouse/internal/edgetest"
)

// site is a manager that orders from a Pebble, and the two listeners at which
// Pebble validates.
type site struct {
	*Manager
	names  *nameSet
	pebble *edgetest.PebbleServer
	data   string
	// mute makes the HTTP listener answer no challenge.
	mute atomic.Bool
}

type siteOptions struct {
	pebble edgetest.PebbleOptions
	eab    *EAB
	http   bool // listen for HTTP-01
	alpn   bool // listen for TLS-ALPN-01
	data   string
	server *edgetest.PebbleServer // use this one
	known  []string
	adjust func(*Options)
}

// newSite sets the listeners up first, since Pebble wants their ports.
func newSite(t *testing.T, o siteOptions) *site {
	t.Helper()
	s := &site{names: knows(o.known...), data: o.data}
	if s.data == "" {
		s.data = t.TempDir()
	}
	var manager atomic.Pointer[Manager]
	if o.http {
		o.pebble.HTTPPort = s.serveHTTP(t, &manager)
	}
	if o.alpn {
		config := &tls.Config{NextProtos: []string{"h2", ALPNProto}, GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return manager.Load().GetCertificate(h)
		}}
		_, port, err := net.SplitHostPort(serveTLS(t, config))
		if err != nil {
			t.Fatal(err)
		}
		if o.pebble.TLSPort, err = net.LookupPort("tcp", port); err != nil {
			t.Fatal(err)
		}
	}
	if s.pebble = o.server; s.pebble == nil {
		s.pebble = edgetest.PebbleWith(t, o.pebble)
	}
	log, _ := newLog()
	options := Options{
		Data: s.data, Issuer: IssuerACME, Known: s.names.has, Logger: log, AllowPrivateResponders: true,
		HTTPPort: strconv.Itoa(o.pebble.HTTPPort), TLSPort: strconv.Itoa(o.pebble.TLSPort),
		ACME: ACME{Directory: s.pebble.DirectoryURL, Email: "ops@example.com", Trust: s.pebble.TrustFile, EAB: o.eab},
	}
	if o.adjust != nil {
		o.adjust(&options)
	}
	s.Manager = newManager(t, options)
	dns := edgetest.DNS(t)
	s.issuer.check.dialer.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, dns)
	}}
	manager.Store(s.Manager)
	return s
}

func (s *site) serveHTTP(t *testing.T, m *atomic.Pointer[Manager]) (port int) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := m.Load().Challenge(r.Host, r.URL.Path)
		if !ok || s.mute.Load() {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(body) // the CA will ask again if it has left
	})}
	done := make(chan error, 1)
	go func() { done <- server.Serve(ln) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return ln.Addr().(*net.TCPAddr).Port
}

// issued waits for the issuer's certificate of a name, other than old.
func (s *site) issued(t *testing.T, name string, old *x509.Certificate) *x509.Certificate {
	t.Helper()
	eventually(t, "certificate of "+name+" is issued", func() bool {
		return s.Trusted(name) && !served(t, s.Manager, name).Equal(old)
	})
	x := served(t, s.Manager, name)
	chain := s.store.issued(name).served.Load().Certificate
	middle, err := x509.ParseCertificate(chain[1])
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(middle)
	if _, err := x.Verify(x509.VerifyOptions{DNSName: name, Roots: s.pebble.Roots(t), Intermediates: pool}); err != nil {
		t.Errorf("the certificate of %s does not verify: %v", name, err)
	}
	return x
}

func TestIssuanceByHTTP01AndRestartWithoutOrder(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteOptions{http: true, known: []string{"www.shop.test", "*.wild.test"}})
	stop := run(t, s.Manager)
	s.Update([]Change{{Name: "www.shop.test"}, {Name: "*.wild.test"}, {Name: "*"}})
	if served(t, s.Manager, "www.shop.test") == nil {
		t.Error("no internal certificate until the order is done")
	}
	first := s.issued(t, "www.shop.test", nil)
	if _, ok := first.PublicKey.(*ecdsa.PublicKey); !ok {
		t.Errorf("key is %T, want ECDSA", first.PublicKey)
	}
	eventually(t, "renewal is planned", func() bool { return !statusOf(t, s.Manager, "www.shop.test").NextTry.Before(time.Now().Add(time.Hour)) })
	st := statusOf(t, s.Manager, "www.shop.test")
	if renew := first.NotAfter.Add(-30 * 24 * time.Hour); st.Source != SourceACME || st.LastError != "" ||
		st.NextTry.Before(renew.Add(-time.Hour)) || st.NextTry.After(renew.Add(72*time.Hour)) {
		t.Errorf("status is %+v, want renewal after %v", st, renew)
	}
	mustBePrivate(t, s.issuer.vault.file("www.shop.test"))
	mustBePrivate(t, filepath.Join(s.issuer.vault.dir, accountKeyFile))
	if st := statusOf(t, s.Manager, "*.wild.test"); !st.NextTry.IsZero() || st.Source != SourceInternal {
		t.Errorf("the wildcard was queued: %+v", st)
	}
	stop()
	orders := strings.Count(s.pebble.Log(), "Issued certificate serial")
	again := newSite(t, siteOptions{data: s.data, server: s.pebble, known: []string{"www.shop.test"}})
	again.Update(again.names.changes())
	if !served(t, again.Manager, "www.shop.test").Equal(first) {
		t.Error("after a restart another certificate is served")
	}
	run(t, again.Manager)
	eventually(t, "renewal is planned again", func() bool { return !statusOf(t, again.Manager, "www.shop.test").NextTry.IsZero() })
	if now := strings.Count(s.pebble.Log(), "Issued certificate serial"); now != orders || orders != 1 {
		t.Errorf("%d certificates issued, %d after the restart; want 1", orders, now)
	}
}

// A process that takes over has read the folder before the other one stopped.
func TestCertificateThatAnotherProcessHasIssuedIsNotOrderedAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteOptions{http: true, known: []string{"www.shop.test"}})
	next := newSite(t, siteOptions{data: s.data, server: s.pebble, known: []string{"www.shop.test"}})
	next.Update(next.names.changes()) // due at once, but it does not run yet
	stop := run(t, s.Manager)
	s.Update(s.names.changes())
	first := s.issued(t, "www.shop.test", nil)
	stop()
	run(t, next.Manager)
	if !next.issued(t, "www.shop.test", nil).Equal(first) {
		t.Error("another certificate is served")
	}
	if st := statusOf(t, next.Manager, "www.shop.test"); time.Until(st.NextTry) < time.Hour {
		t.Errorf("no renewal is planned: %+v", st)
	}
	if orders := strings.Count(s.pebble.Log(), "Issued certificate serial"); orders != 1 {
		t.Errorf("%d certificates issued, want 1", orders)
	}
}

func TestIssuanceByTLSALPN01WithExternalAccount(t *testing.T) {
	t.Parallel()
	const key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	s := newSite(t, siteOptions{
		alpn: true, known: []string{"www.shop.test"},
		pebble: edgetest.PebbleOptions{EAB: map[string]string{"kid-1": key}, Lifetime: 6 * 24 * time.Hour},
		eab:    &EAB{KID: "kid-1", HMAC: key},
	})
	run(t, s.Manager)
	s.Update(s.names.changes())
	first := s.issued(t, "www.shop.test", nil)
	// A short-lived certificate's autocert timer fires at once: it must not order.
	if n := strings.Count(s.pebble.Log(), "Issued certificate serial"); n != 1 {
		t.Errorf("%d certificates were issued, want 1", n)
	}
	if err := s.Renew("www.shop.test"); err != nil {
		t.Fatal(err)
	}
	second := s.issued(t, "www.shop.test", first)
	if samePublicKey(first.PublicKey, second.PublicKey) {
		t.Error("the renewal has the old key")
	}
	if n := strings.Count(s.pebble.Log(), "Issued certificate serial"); n != 2 {
		t.Errorf("%d certificates were issued, want 2", n)
	}
	if accounts := strings.Count(s.pebble.Log(), "There are now 2 accounts"); accounts != 0 {
		t.Error("a second account was made")
	}
}

func TestFailedOrderTellsTheCAsReasonAndBacksOff(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteOptions{http: true, known: []string{"broken.test"}})
	s.mute.Store(true)
	run(t, s.Manager)
	s.Update(s.names.changes())
	eventually(t, "order has failed", func() bool { return statusOf(t, s.Manager, "broken.test").LastError != "" })
	st := statusOf(t, s.Manager, "broken.test")
	for _, want := range []string{"http-01:", "broken.test"} {
		if !strings.Contains(st.LastError, want) {
			t.Errorf("last error %q lacks %q", st.LastError, want)
		}
	}
	if wait := time.Until(st.NextTry); wait < 7*time.Minute || wait > 13*time.Minute {
		t.Errorf("next try in %v, want ten minutes ±20 %%", wait)
	}
	if n := strings.Count(s.pebble.Log(), "authz"); n == 0 {
		t.Error("pebble's log does not tell of authorizations")
	}
	if st.Source != SourceInternal || served(t, s.Manager, "broken.test") == nil {
		t.Error("the internal certificate is not served")
	}
	s.mute.Store(false)
	if err := s.Renew("broken.test"); err != nil {
		t.Fatal(err)
	}
	s.issued(t, "broken.test", nil)
	eventually(t, "error is gone", func() bool { return statusOf(t, s.Manager, "broken.test").LastError == "" })
}

func TestRunEndsWhileTheCAHangs(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	m := newManager(t, Options{Issuer: IssuerACME, ACME: ACME{Directory: "https://" + ln.Addr().String() + "/dir"}})
	stop := run(t, m)
	m.Update([]Change{{Name: "a.test"}})
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	start := time.Now()
	stop()
	if took := time.Since(start); took > acmeHTTPTimeout/2 {
		t.Errorf("Run took %v to end", took)
	}
	if st := statusOf(t, m, "a.test"); st.LastError != "" {
		t.Errorf("the stop counts as failure: %s", st.LastError)
	}
}

// plannedIssuer is an issuer whose ACME client cannot reach anything.
func plannedIssuer(t *testing.T, names *nameSet) *Manager {
	t.Helper()
	return newManager(t, Options{Issuer: IssuerACME, Known: names.has, ACME: ACME{Directory: "https://127.0.0.1:1/dir"}})
}

func TestRemovedNameIsNeverOrderedNorRenewed(t *testing.T) {
	names := knows("a.test")
	m := plannedIssuer(t, names)
	m.Update([]Change{{Name: "a.test"}})
	if !m.issuer.isPlanned("a.test") {
		t.Fatal("the name is not planned")
	}
	m.Update([]Change{{Name: "a.test", Removed: true}})
	if m.issuer.isPlanned("a.test") {
		t.Error("the removed name is still planned")
	}
	m.issuer.process(context.Background(), "a.test") // as if it had been handed out just before
	m.Update([]Change{{Name: "a.test"}})
	names.remove("a.test")
	m.issuer.process(context.Background(), "a.test")
	if st := statusOf(t, m, "a.test"); st.LastError != "" {
		t.Errorf("a name that is not known was ordered: %s", st.LastError)
	}
}

func TestNameCoveredByAFileIsNotOrdered(t *testing.T) {
	ca := edgetest.NewCA(t)
	_, cert, key := pairFiles(t, ca, edgetest.LeafOptions{}, "*.shop.test")
	m := plannedIssuer(t, knows("*.shop.test"))
	m.Update([]Change{{Name: "*.shop.test", CertFile: cert, KeyFile: key}, {Name: "www.shop.test"}})
	m.issuer.process(context.Background(), "www.shop.test")
	if st := statusOf(t, m, "www.shop.test"); st.LastError != "" || time.Until(st.NextTry) < time.Minute {
		t.Errorf("status is %+v", st)
	}
	m.Update([]Change{{Name: "www.shop.test", CertFile: cert, KeyFile: key}})
	if m.issuer.isPlanned("www.shop.test") {
		t.Error("a name with files is still planned")
	}
	if m.Renew("www.shop.test") == nil {
		t.Error("a name with files can be ordered")
	}
}

func TestNameBelowAWildcardFileThatDoesNotCoverItIsOrdered(t *testing.T) {
	ca := edgetest.NewCA(t)
	_, cert, key := pairFiles(t, ca, edgetest.LeafOptions{}, "other.test")
	m := plannedIssuer(t, knows("*.shop.test"))
	m.Update([]Change{{Name: "*.shop.test", CertFile: cert, KeyFile: key}, {Name: "www.shop.test"}})
	m.issuer.process(context.Background(), "www.shop.test") // the connection is refused
	if st := statusOf(t, m, "www.shop.test"); st.LastError == "" || st.Source != SourceInternal {
		t.Errorf("no order was tried: %+v", st)
	}
}

func TestBackoffGrowsToADay(t *testing.T) {
	m := plannedIssuer(t, knows("a.test"))
	m.Update([]Change{{Name: "a.test"}})
	for i, want := range append(backoffs, backoffs[len(backoffs)-1]) {
		wait := m.issuer.waitAfter("a.test", i, errors.New("not validated"))
		if wait < want*79/100 || wait > want*121/100 {
			t.Errorf("wait %d is %v, want %v ±20 %%", i, wait, want)
		}
	}
}

// That an issuer cannot be reached is not the name's failure: it is tried again soon, and the name's failures do not count up.
func TestIssuerThatIsAwayIsTriedAgainSoon(t *testing.T) {
	m := plannedIssuer(t, knows("a.test", "b.test"))
	m.Update([]Change{{Name: "a.test"}, {Name: "b.test"}})
	for range 2 {
		for _, name := range []string{"a.test", "b.test"} { // the first finds the connection refused, the second is spared that
			m.issuer.process(context.Background(), name)
			if wait := time.Until(m.issuer.plan.at(name)); wait <= 0 || wait > awayWait*121/100 {
				t.Errorf("%s waits %v", name, wait)
			}
			if f, err := m.issuer.vault.failure(t.Context(), name); err != nil || f.Count != 0 || f.Err == "" {
				t.Errorf("%s: %+v %v", name, f, err)
			}
		}
	}
}

func TestSingleLabelIsNotOrdered(t *testing.T) {
	m := plannedIssuer(t, knows("intranet"))
	m.Update([]Change{{Name: "intranet"}})
	m.issuer.process(context.Background(), "intranet")
	if st := statusOf(t, m, "intranet"); !strings.Contains(st.LastError, "one label") {
		t.Errorf("status is %+v", st)
	}
}

func TestRenewalTimes(t *testing.T) {
	const day = 24 * time.Hour
	start := time.Now()
	for life, want := range map[time.Duration]time.Duration{90 * day: 60 * day, 45 * day: 30 * day, 6 * day: 3 * day, 10 * day: 5 * day} {
		l := &leaf{notBefore: start, notAfter: start.Add(life)}
		if got := l.renewAt().Sub(start); got != want {
			t.Errorf("a life of %v is renewed after %v, want %v", life, got, want)
		}
		l.digest = [32]byte{255, 255}
		if at := renewal(l, time.Time{}).Sub(start); at < want || at > want+life/50 {
			t.Errorf("a life of %v is spread to %v", life, at)
		}
	}
}

func TestStoredCertificatesAreCheckedOnLoad(t *testing.T) {
	ca := edgetest.NewCA(t)
	o := Options{Data: t.TempDir(), Issuer: IssuerACME, ACME: ACME{Directory: "https://ca.test/dir"}}
	m := newManager(t, o)
	good, foreign := ca.Issue(t, "good.test"), ca.Issue(t, "other.test")
	gone := ca.IssueWith(t, edgetest.LeafOptions{NotBefore: time.Now().Add(-30 * 24 * time.Hour), NotAfter: time.Now().Add(-8 * 24 * time.Hour)}, "gone.test")
	for name, text := range map[string][]byte{
		"good.test":    append(good.KeyPEM, good.CertPEM...),
		"foreign.test": append(foreign.KeyPEM, foreign.CertPEM...),
		"broken.test":  good.CertPEM,
		"gone.test":    append(gone.KeyPEM, gone.CertPEM...),
	} {
		if err := os.WriteFile(m.issuer.vault.file(name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again := func() *Manager {
		m := newManager(t, o)
		m.Update([]Change{{Name: "good.test"}, {Name: "foreign.test"}, {Name: "broken.test"}, {Name: "gone.test"}})
		return m
	}
	m = again()
	for name, want := range map[string]bool{"good.test": true, "foreign.test": false, "broken.test": false, "gone.test": false} {
		if m.Trusted(name) != want {
			t.Errorf("%s: in place is %v, want %v", name, !want, want)
		}
	}
	if _, err := os.Stat(m.issuer.vault.file("gone.test")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file of a long expired certificate stays: %v", err)
	}
	o.ACME.Directory = "https://other-ca.test/dir"
	if again().Trusted("good.test") {
		t.Error("the certificate of another directory is served")
	}
	o.Issuer = IssuerInternal
	if again().Trusted("good.test") {
		t.Error("an issued certificate is served though the issuer is internal")
	}
}

func TestRateLimitIsRead(t *testing.T) {
	err := &xacme.Error{StatusCode: 429, ProblemType: "urn:ietf:params:acme:error:rateLimited", Header: http.Header{"Retry-After": {"7200"}}}
	if got, whole := rateLimit(errors.Join(errors.New("order"), err)); got != 2*time.Hour || whole {
		t.Errorf("wait is %v, %v", got, whole)
	}
	err.Detail = "too many new orders recently"
	if got, whole := rateLimit(err); got != 2*time.Hour || !whole {
		t.Errorf("wait is %v, %v", got, whole)
	}
	if got, _ := rateLimit(errors.New("other")); got != 0 {
		t.Errorf("wait is %v for another error", got)
	}
}

// A limit of one host, or of one registered domain, must not stop the orders of all tenants.
func TestRateLimitOfOneHostIsNotTheAccounts(t *testing.T) {
	const after = "retry after 2026-11-29 13:00:00 UTC: see https://letsencrypt.org/docs/rate-limits/#"
	for detail, want := range map[string]bool{
		`too many failed authorizations (5) for "broken.test" in the last 1h0m0s, ` + after + "authorization-failures-per-hostname-per-account":         false,
		`too many certificates (50) already issued for "shop.test" in the last 168h0m0s, ` + after + "new-certificates-per-registered-domain":           false,
		"too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s, " + after + "new-certificates-per-exact-set":  false,
		"Your account is temporarily prevented from requesting certificates for broken.test and possibly others. Please visit: https://ca.test/unpause": false,
		`too many new orders for "broken.test"`: false,
		"too many new orders (300) from this account in the last 3h0m0s, " + after + "new-orders-per-account": true,
		"too many requests":          true,
		"Service busy; retry later.": true,
	} {
		err := &xacme.Error{StatusCode: 429, ProblemType: "urn:ietf:params:acme:error:rateLimited", Header: http.Header{"Retry-After": {"3600"}}, Detail: detail}
		if wait, whole := rateLimit(err); whole != want || wait != time.Hour {
			t.Errorf("%v, %v: %s", wait, whole, detail)
		}
	}
}

// Somebody's word is not for what was under way when it was given, however that ends; a revocation is seen to by whatever is issued.
func TestWordThatIsGivenDuringAnAttemptHolds(t *testing.T) {
	m := plannedIssuer(t, knows("a.test"))
	m.Update([]Change{{Name: "a.test"}})
	for _, err := range []error{nil, errAway} {
		o := m.issuer.begin("a.test")
		before := &try{key: "a.test", order: o, hand: true, force: true, words: o.words}
		if err := m.Renew("a.test"); err != nil {
			t.Fatal(err)
		}
		m.issuer.finish(before, err, time.Hour)
		m.issuer.end("a.test", o)
		if !o.hand || !o.force || time.Until(m.issuer.plan.at("a.test")) > 0 {
			t.Errorf("after %v it is forgotten", err)
		}
		m.issuer.finish(&try{key: "a.test", order: o, hand: true, force: true, words: o.words}, err, time.Hour)
		if o.hand || o.force {
			t.Errorf("after %v it is for twice", err)
		}
	}
	o := m.issuer.wanted["a.test"]
	o.force = true
	if m.issuer.finish(&try{key: "a.test", order: o, words: o.words}, nil, time.Hour); o.force {
		t.Error("what was issued is ordered again for another that was revoked")
	}
}
