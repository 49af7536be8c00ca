package acme

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	xacme "golang.org/x/crypto/acme"
)

// A failed validation as the gate notes it and the issuer reports it.
func invalid(kind, problem, detail string) error {
	return fmt.Errorf("order certificate of a.test: %w", &validationError{name: "a.test", why: kind + ": " + problem + ": " + detail, err: errors.New("acme: authorization error")})
}

func refused(status int, problem, detail string) error {
	return fmt.Errorf("order certificate of a.test: %w", &xacme.Error{StatusCode: status, ProblemType: "urn:ietf:params:acme:error:" + problem, Detail: detail, Header: http.Header{}})
}

func TestExplainSaysInPlainWordsWhatToDo(t *testing.T) {
	next := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	until := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"refused":         {invalid("http-01", "connection", "203.0.113.1: Fetching http://a.test/.well-known/acme-challenge/x: Connection refused"), "the issuer cannot reach http://a.test/: does its DNS lead here, is port 80 open?"},
		"firewall":        {invalid("http-01", "connection", "203.0.113.1: Fetching http://a.test/: Timeout during connect (likely firewall problem)"), "cannot reach http://a.test/: does its DNS lead here, is port 80 open?"},
		"refused, alpn":   {invalid("tls-alpn-01", "connection", "203.0.113.1: Connection refused"), "cannot reach a.test at port 443"},
		"wrong, alpn":     {invalid("tls-alpn-01", "unauthorized", "Incorrect validation certificate for tls-alpn-01 challenge"), "another server answers for a.test at port 443"},
		"no such name":    {invalid("http-01", "dns", "DNS problem: NXDOMAIN looking up A for a.test - check that a DNS record exists for this domain"), "a.test is not in the DNS: add an A or AAAA record"},
		"no address":      {invalid("http-01", "unknownHost", "No valid IP addresses found for a.test"), "a.test is not in the DNS"},
		"servers fail":    {invalid("http-01", "dns", "DNS problem: SERVFAIL looking up CAA for a.test"), "the name servers of a.test do not answer"},
		"caa":             {invalid("http-01", "caa", "CAA record for a.test prevents issuance"), `a CAA record forbids this issuer for a.test: add one that names it, such as: CAA 0 issue "letsencrypt.org"`},
		"wrong answer":    {invalid("http-01", "unauthorized", `203.0.113.1: Invalid response from http://a.test/.well-known/acme-challenge/x: 404`), "another server answers for a.test: "},
		"their limit":     {invalid("http-01", "unauthorized", `203.0.113.1: Invalid response from http://a.test/x: 429 "no TXT record, timeout"`), "another server answers for a.test: "},
		"other key":       {invalid("http-01", "incorrectResponse", "The key authorization file from the server did not match this challenge."), "another server answers for a.test: "},
		"no record":       {invalid("dns-01", "unauthorized", "No TXT record found at _acme-challenge.a.test"), "does not see the TXT record at _acme-challenge.a.test"},
		"no record, dns":  {invalid("dns-01", "dns", "DNS problem: NXDOMAIN looking up TXT for _acme-challenge.a.test"), "does not see the TXT record at _acme-challenge.a.test"},
		"rate, detail":    {refused(429, "rateLimited", "too many certificates (5) already issued for this exact set of identifiers, retry after 2026-02-03 04:05:06 UTC"), "(rate limit): tried again 2026-02-03 04:05 UTC"},
		"rate":            {refused(429, "rateLimited", "slow down"), "(rate limit): tried again 2026-03-04 05:06 UTC"},
		"resting":         {&notTriedError{error: &restingError{"ca.test", until}}, "left alone until 2026-01-02 03:04 UTC"},
		"away":            {fmt.Errorf("%w: %w", errIssuerAway, errors.New(`acme: register at https://ca.test/dir: Get "https://ca.test/dir": dial tcp 192.0.2.1:443: connect: connection refused`)), "the issuer cannot be reached: may this node connect to it"},
		"not trusted":     {fmt.Errorf("%w: %w", errIssuerAway, errors.New("tls: failed to verify certificate: x509: certificate signed by unknown authority")), "name its root in certificates.acme.trust (certificate signed by unknown authority)"},
		"away, later":     {errors.New(`order certificate of a.test: Post "https://ca.test/order": dial tcp: i/o timeout`), "the issuer cannot be reached, or does not answer in time"},
		"issuer's name":   {errors.New(`order certificate of a.test: Post "https://ca.test/order": dial tcp: lookup ca.test: no such host`), "the issuer cannot be reached, or does not answer"},
		"binding":         {fmt.Errorf("%w: %w", errIssuerAway, refused(403, "externalAccountRequired", "bind it")), "set certificates.acme.eab.kid and .hmac"},
		"contact":         {fmt.Errorf("%w: %w", errIssuerAway, refused(400, "invalidContact", "contact domain is forbidden")), "does not take certificates.acme.email: invalidContact: contact domain is forbidden"},
		"profile":         {refused(400, "invalidProfile", "no such"), "set certificates.acme.profile to one that"},
		"never certified": {refused(400, "rejectedIdentifier", "Domain name does not end with a valid public suffix (TLD)"), "the issuer does not certify a.test: rejectedIdentifier: Domain name"},
		"account":         {refused(403, "unauthorized", "Account is deactivated"), "does not accept this node's account: Account is deactivated"},
		"fault":           {refused(500, "serverInternal", "oops"), "the issuer has a fault of its own: tried again 2026-03-04"},
		"fault, unplaced": {fmt.Errorf("%w: %w", errIssuerAway, refused(503, "serverInternal", "oops")), "the issuer has a fault of its own: tried again 2026-03-04"},
		"hook":            {fmt.Errorf("dns-01 for a.test: %w", errors.New("dns hook /etc/hook present: exit status 1: no\nkey")), "the program of certificates.acme.dns_hook failed: /etc/hook present: exit status 1: no key; try it by hand"},
		"cut off":         {errTries, "three attempts for a.test within an hour were cut off, by restarts of nodes for one: tried again 2026-03-04 05:06 UTC"},
		"swaps":           {errSwaps, "have all nodes the same names for the vhost? Tried again 2026-03-04 05:06 UTC"},
		"not noted":       {fmt.Errorf("acme: not ordered while the attempt cannot be noted: %w", errors.New("no space left on device")), "is the disk full, does the Redis that nodes share take writes? (no space left on device)"},
		"no hook":         {errors.New("dns-01 for a.test: dns-01 needs a hook: certificates.acme.dns_hook"), "set certificates.acme.dns_hook"},
		"not offered":     {errors.New("order certificate of a.test: the issuer offers no http-01 for a.test"), "set another, or auto"},
		"one label":       {errors.New("acme: no issuer certifies a name of one label"), "no issuer certifies a.test, a name without a dot"},
		"quota":           {errQuota, "orders_per_tenant allows in three hours: tried again 2026-03-04 05:06 UTC"},
		"blind":           {errors.New("acme: not ordered while other nodes cannot be asked: EOF"), "the Redis that nodes share does not answer"},
		"unknown":         {errors.New("acme: something\n  else"), "something else"},
	} {
		t.Run(name, func(t *testing.T) {
			// Other nodes only have the text, and so has Explain.
			if got := Explain("a.test", tc.err.Error(), next); !strings.Contains(got, tc.want) || strings.ContainsAny(got, "{}\n") {
				t.Errorf("of %q it says %q, want %q in it", tc.err, got, tc.want)
			}
		})
	}
	if got := Explain("*.a.test", "was not validated: dns-01: dns: NXDOMAIN looking up TXT", next); !strings.Contains(got, "_acme-challenge.a.test") {
		t.Errorf("of a wildcard: %q", got)
	}
	if got := Explain("a.test", strings.Repeat("ü", 400), next); len(got) > mostDetail+len("…") || !strings.HasSuffix(got, "ü…") {
		t.Errorf("a long text is %d bytes: %q", len(got), got)
	}
}

func TestIssuerIsNamedByTheFirstThatThereIs(t *testing.T) {
	for want, issuer := range map[string]pkix.Name{
		"E7":          {CommonName: "E7", Organization: []string{"Let's Encrypt"}, OrganizationalUnit: []string{"unit"}},
		"StartCom":    {CommonName: " ", Organization: []string{"", "StartCom"}, OrganizationalUnit: []string{"unit"}},
		"Class 1":     {OrganizationalUnit: []string{"Class 1"}, Country: []string{"IL"}},
		"C=IL":        {Country: []string{"IL"}},
		"SERIALNUMBE": {SerialNumber: "1"},
	} {
		if got := issuerName(&x509.Certificate{Issuer: issuer}); !strings.HasPrefix(got, want) {
			t.Errorf("%v is named %q, want %q", issuer, got, want)
		}
	}
}
