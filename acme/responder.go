package acme

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

const (
	ocspBodyLimit     = 64 << 10
	ocspTimeout       = 10 * time.Second
	ocspMaxRedirects  = 2
	ocspMaxResponders = 3
)

// responderClient asks OCSP responders. Their URLs come out of uploaded
// certificates, hence the bounds on time, size and redirects, no proxy, and the
// refusal of addresses inside our network, checked at connect so that neither DNS
// nor a redirect gets around it.
type responderClient struct {
	http http.Client
}

func newResponderClient(allowPrivate bool) *responderClient {
	dialer := &net.Dialer{Timeout: ocspTimeout}
	if !allowPrivate {
		dialer.Control = refusePrivate
	}
	return &responderClient{http: http.Client{
		Timeout: ocspTimeout,
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			TLSHandshakeTimeout:    ocspTimeout,
			ResponseHeaderTimeout:  ocspTimeout,
			MaxResponseHeaderBytes: 16 << 10,
			IdleConnTimeout:        ocspTimeout,
			DisableCompression:     true,
		},
		CheckRedirect: func(_ *http.Request, via []*http.Request) error {
			if len(via) > ocspMaxRedirects {
				return fmt.Errorf("more than %d redirects", ocspMaxRedirects)
			}
			return nil
		},
	}}
}

// ask posts a request (RFC 6960 appendix A.1) to the responders in turn until one
// answers. The answer is not verified.
func (c *responderClient) ask(ctx context.Context, responders []string, request []byte) ([]byte, error) {
	var failed []error
	for _, responder := range responders[:min(len(responders), ocspMaxResponders)] {
		der, err := c.post(ctx, responder, request)
		if err == nil {
			return der, nil
		}
		failed = append(failed, fmt.Errorf("ask OCSP responder: %w", err))
	}
	return nil, errors.Join(failed...)
}

func (c *responderClient) post(ctx context.Context, responder string, request []byte) (der []byte, err error) {
	u, err := url.Parse(responder)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is not an http URL", responder)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, responder, bytes.NewReader(request))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/ocsp-request")
	req.Header.Set("Accept", "application/ocsp-response")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", u.Host, resp.Status)
	}
	der, err = io.ReadAll(io.LimitReader(resp.Body, ocspBodyLimit+1))
	if err != nil {
		return nil, fmt.Errorf("read answer of %s: %w", u.Host, err)
	}
	if len(der) > ocspBodyLimit {
		return nil, fmt.Errorf("answer of %s exceeds %d bytes", u.Host, ocspBodyLimit)
	}
	return der, nil
}

func (c *responderClient) close() { c.http.CloseIdleConnections() }

// refusePrivate is a net.Dialer's Control: it sees the address that will be
// connected to, after DNS.
func refusePrivate(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("address %q: %w", address, err)
	}
	if !isPublic(ap.Addr()) {
		return fmt.Errorf("responder address %s is not a public one", ap.Addr())
	}
	return nil
}

// nonPublic lists what netip.Addr has no method for, after the IANA special-purpose
// registries (RFC 6890). Those that embed an IPv4 address are among them, since
// they may lead back inside.
var nonPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // carrier-grade NAT
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"),   // NAT64
	netip.MustParsePrefix("64:ff9b:1::/48"), // local NAT64
	netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), // Teredo and other protocol assignments
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), // 6to4
	netip.MustParsePrefix("fec0::/10"), // former site-local
	netip.MustParsePrefix("::/96"),     // former IPv4-compatible
}

func isPublic(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if !addr.IsGlobalUnicast() || addr.IsPrivate() {
		return false
	}
	for _, p := range nonPublic {
		if p.Contains(addr) {
			return false
		}
	}
	return true
}
