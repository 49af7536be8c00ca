package edge

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"gatehouse/edge/waf"
	"gatehouse/internal/edgetest"
)

// spoofed are names that some backend takes for a field in which a proxy speaks, or for
// one that frames the message: CGI and WSGI read "_" as "-", PHP "." too, and nobody
// regards case.
var spoofed = []string{
	"X_Forwarded_For", "x-forwarded_FOR", "X.Forwarded.For", "X_FORWARDED-PROTO", "x_real_ip", "X.Real-IP", "X_Request_Id",
	"X_SSL_Client_Verify", "Remote_User", "X_Original_URL", "X_Rewrite-Url", "Front_End_Https", "Content_Length", "Transfer_Encoding", "Proxy_Connection",
}

// A twin of a field that we write or frame by is seen by the rules under the name that was sent,
// reaches no backend, even from a trusted proxy, and says nothing about the client.
func TestUnderscoreAndDotTwinsAreInspectedAsSentAndNotForwarded(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		t.Run(fmt.Sprintf("trusted %t", trusted), func(t *testing.T) {
			b := edgetest.NewBackend(t)
			n := start(t, shopSite(b.URL, "waf: {mode: detect}"), func(o *Options) {
				if trusted {
					o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
				}
			})
			const value = "() { :; }; echo 6.6.6.6" // rule 932170 looks at every field
			for _, name := range spoofed {
				got := n.get(t, "www.shop.test", "/twin", "User-Agent: test", "Accept: */*", name+": "+value)
				if got.Status != 200 {
					t.Errorf("%s: status %d", name, got.Status)
				}
				seen := b.Requests()
				request := seen[len(seen)-1]
				for field, values := range request.Header {
					if slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, "6.6.6.6") }) {
						t.Errorf("%s reached the backend as %s", name, field)
					}
				}
				if ip := request.Header.Get("X-Real-Ip"); ip != "127.0.0.1" {
					t.Errorf("%s made the client %q", name, ip)
				}
				found, err := n.Probe(Probe{URL: "http://www.shop.test/twin", Fields: [][2]string{{"User-Agent", "test"}, {"Accept", "*/*"}, {name, value}}})
				if err != nil {
					t.Fatal(err)
				}
				if found.Reason != "" || !slices.ContainsFunc(found.Matches, func(m waf.Match) bool { return m.ID == 932170 && m.Target == "REQUEST_HEADERS:"+name }) {
					t.Errorf("%s: the rules saw %+v", name, found)
				}
			}
		})
	}
}

// A twin beside the real field: the rules see both lines, the backend ours.
func TestTwinBesideTheRealFieldHidesNeither(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "waf: {mode: detect}"))
	const first, second = "() { :; }; echo 1", "() { :; }; echo 2"
	fields := [][2]string{{"User-Agent", "test"}, {"Accept", "*/*"}, {"X_Forwarded_For", first}, {"x-FORWARDED-for", second}}
	found, err := n.Probe(Probe{URL: "http://www.shop.test/", Fields: fields})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"X_Forwarded_For", "x-FORWARDED-for"} {
		if !slices.ContainsFunc(found.Matches, func(m waf.Match) bool { return m.ID == 932170 && m.Target == "REQUEST_HEADERS:"+name }) {
			t.Errorf("%s was not inspected: %+v", name, found.Matches)
		}
	}
	n.get(t, "www.shop.test", "/", "User-Agent: test", "Accept: */*", "X_Forwarded_For: "+first, "x-FORWARDED-for: "+second)
	h := b.Requests()[0].Header
	if got := strings.Join(h["X-Forwarded-For"], "|"); got != "127.0.0.1" {
		t.Errorf("X-Forwarded-For: %q", got)
	}
	if h.Get("X_Forwarded_For") != "" {
		t.Error("the twin reached the backend")
	}
}

// What is no token is no name: no reader may be left to guess which one was meant.
func TestFieldNameThatIsNoTokenIsRefused(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "waf: {mode: off}"))
	for _, name := range []string{"X-Forwarded-For ", "X-Forwarded-For\t", "X Forwarded For", "X-Forwarded-For\x00", "X-Forwarded\u2010For", "(X-Forwarded-For)", "X-Forwarded-For\x0b", "\"X-Real-IP\"", "X/Real/IP", "X,Real,IP", "", "X-Réal-IP"} {
		if got := n.get(t, "www.shop.test", "/", name+": 6.6.6.6"); got.Status != 400 {
			t.Errorf("%q: status %d", name, got.Status)
		}
	}
	if got := b.Deliveries(""); got != 0 {
		t.Errorf("%d of them reached the backend", got)
	}
}
