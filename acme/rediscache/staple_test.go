package rediscache

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"gatehouse/acme"
	"gatehouse/internal/edgetest"
)

// A stapledSite is a vhost with files of a certificate that names a responder.
type stapledSite struct {
	host   string
	leaf   *edgetest.Leaf
	change acme.Change
	key    string // of its response in Redis, without the prefix
}

func newStapledSite(t *testing.T, r *edgetest.OCSPResponder, host string) *stapledSite {
	t.Helper()
	leaf := r.CA.IssueWith(t, edgetest.LeafOptions{OCSP: r.URL}, host)
	leaf.CertPEM = append(leaf.CertPEM, r.CA.PEM...)
	cert, key := leaf.Write(t, t.TempDir(), "site")
	digest := sha256.Sum256(leaf.TLS.Certificate[0])
	return &stapledSite{host, leaf, acme.Change{Name: host, CertFile: cert, KeyFile: key}, "gatehouse:{acme}:ocsp:" + hex.EncodeToString(digest[:16])}
}

// answer is what a responder says of the certificate.
func (s *stapledSite) answer(t testing.TB, r *edgetest.OCSPResponder, mode edgetest.OCSPMode) []byte {
	t.Helper()
	return mode.Make(t, r.CA, edgetest.OCSPTemplate(s.leaf.TLS.Leaf.SerialNumber))
}

// modeSites are a site for each way to answer, in that order.
func modeSites(t *testing.T, r *edgetest.OCSPResponder) (modes []edgetest.OCSPMode, sites []*stapledSite) {
	t.Helper()
	modes = edgetest.OCSPModes()
	for i := range modes {
		sites = append(sites, newStapledSite(t, r, fmt.Sprintf("mode%d.test", i)))
	}
	return modes, sites
}

// newStaplers is a fleet that orders nothing.
func newStaplers(t *testing.T) *fleet {
	t.Helper()
	return &fleet{redis: edgetest.Redis(t), pebble: &edgetest.PebbleServer{}, key: []byte("0123456789abcdef0123456789abcdef")}
}

func (f *fleet) staples(t *testing.T, name, data string, sites ...*stapledSite) *fleetNode {
	t.Helper()
	n := f.join(t, name, data, func(o *acme.Options) { alone(o); o.AllowPrivateResponders = true })
	for _, s := range sites {
		n.Update([]acme.Change{s.change})
	}
	return n
}

func (n *fleetNode) status(t testing.TB, s *stapledSite) acme.Status {
	t.Helper()
	st, ok := n.StatusOf(s.host)
	if !ok {
		t.Fatalf("%s does not know %s", n.name, s.host)
	}
	return st
}

// judged waits until the node has an opinion of the site's responder.
func (n *fleetNode) judged(t testing.TB, s *stapledSite) acme.Status {
	t.Helper()
	edgetest.WaitFor(t, "the response to be judged", func() bool { st := n.status(t, s); return st.Staple != acme.StaplePending || st.LastError != "" })
	return n.status(t, s)
}

// stapled is the response in a handshake.
func (n *fleetNode) stapled(t testing.TB, s *stapledSite) []byte {
	t.Helper()
	cert, err := n.GetCertificate(&tls.ClientHelloInfo{ServerName: s.host, SupportedProtos: []string{"http/1.1"}})
	if err != nil || cert == nil {
		t.Fatalf("%s: %v", n.name, err)
	}
	return cert.OCSPStaple
}

// What an attacker, or a fault, puts into Redis is judged as if it came from the network: hostile responses are never stapled, and good ones
// are, without a request.
func TestHostileResponsesInRedisAreNotStapled(t *testing.T) {
	t.Parallel()
	f, r := newStaplers(t), edgetest.OCSP(t)
	r.Answer(edgetest.OCSPMode{Make: func(testing.TB, *edgetest.CA, ocsp.Response) []byte { return ocsp.TryLaterErrorResponse }})
	modes, sites := modeSites(t, r)
	store, hostile := open(t, f.redis), 0
	for i, s := range sites {
		if err := store.Write(t.Context(), s.key, s.answer(t, r, modes[i]), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	n := f.staples(t, "n1", t.TempDir(), sites...)
	for i, mode := range modes {
		st, stapled := n.judged(t, sites[i]), n.stapled(t, sites[i])
		switch {
		case mode.Refused != "":
			hostile++
			if st.Staple != acme.StaplePending || stapled != nil || !n.hasRefused(sites[i], mode) {
				t.Errorf("%s: %+v, %d octets stapled; want it refused for %q", mode.Name, st, len(stapled), mode.Refused)
			}
		case mode.Name == "revoked":
			if st.Staple != acme.StapleRevoked || stapled != nil {
				t.Errorf("%s: %+v, %d octets stapled", mode.Name, st, len(stapled))
			}
		default:
			if st.Staple != acme.StapleGood || stapled == nil {
				t.Errorf("%s: %+v, %d octets stapled", mode.Name, st, len(stapled))
			}
		}
	}
	if r.Asked() != hostile {
		t.Errorf("%d requests for %d responses that are no good", r.Asked(), hostile)
	}
}

// hasRefused reports whether the log says why a site's response in Redis is not used.
func (n *fleetNode) hasRefused(s *stapledSite, mode edgetest.OCSPMode) bool {
	for line := range strings.Lines(n.log.String()) {
		if strings.Contains(line, "shared OCSP response not used") && strings.Contains(line, s.host) && strings.Contains(line, mode.Refused) {
			return true
		}
	}
	return false
}

// What a responder says is judged before other nodes see it: hostile responses do not get into Redis.
func TestHostileResponsesDoNotComeIntoRedis(t *testing.T) {
	t.Parallel()
	f, r := newStaplers(t), edgetest.OCSP(t)
	modes, sites := modeSites(t, r)
	r.Answer(edgetest.OCSPMode{Make: func(t testing.TB, ca *edgetest.CA, template ocsp.Response) []byte {
		for i, s := range sites {
			if s.leaf.TLS.Leaf.SerialNumber.Cmp(template.SerialNumber) == 0 {
				return modes[i].Make(t, ca, template)
			}
		}
		return ocsp.UnauthorizedErrorResponse
	}})
	n := f.staples(t, "n1", t.TempDir(), sites...)
	for i, mode := range modes {
		st := n.judged(t, sites[i])
		if !strings.Contains(st.LastError, mode.Refused) || (n.stapled(t, sites[i]) != nil) != (st.Staple == acme.StapleGood) {
			t.Errorf("%s: %+v, %d octets are stapled", mode.Name, st, len(n.stapled(t, sites[i])))
		}
		if there := f.redis.CLI("EXISTS", "edge:"+sites[i].key) == "1"; there != (mode.Refused == "") {
			t.Errorf("%s: in Redis is %v", mode.Name, there)
		}
	}
}

// Four nodes with one certificate ask its responder once. With the responder and Redis gone, each node staples on after a restart, before the
// first handshake; a node without anything gets the response from Redis.
func TestOneFetchServesTheFleetAndItsRestarts(t *testing.T) {
	t.Parallel()
	f, r := newStaplers(t), edgetest.OCSP(t)
	s := newStapledSite(t, r, "a.test")
	for i := range 4 {
		f.staples(t, fmt.Sprint("n", i), t.TempDir(), s)
	}
	for _, n := range f.nodes {
		edgetest.WaitFor(t, n.name+" to staple", func() bool { return n.stapled(t, s) != nil })
	}
	if r.Asked() != 1 {
		t.Errorf("%d requests of %d nodes", r.Asked(), len(f.nodes))
	}
	r.Close()
	late := f.staples(t, "late", t.TempDir(), s)
	edgetest.WaitFor(t, "a node that is new to staple what is in Redis", func() bool { return late.stapled(t, s) != nil })
	f.redis.Kill()
	for _, n := range f.nodes {
		n.stop()
		if again := f.staples(t, n.name, n.data, s); again.stapled(t, s) == nil {
			t.Errorf("%s does not staple after a restart", n.name)
		}
	}
}
