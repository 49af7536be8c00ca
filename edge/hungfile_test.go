package edge

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// A disk that hangs, or a server of files that is away, would hold all changes of the table, the polls and every request of the vhost.
func TestFilesThatHangHoldNeitherTheTableNorOtherVhosts(t *testing.T) {
	dir, release := edgetest.HungFolder(t)
	begun := time.Now()
	g := guard(t, "vhosts:\n"+
		"  auth.test: {backends: [BACKEND], tenant: a, tls: {client_auth: {ca: "+dir+"/ca.pem, mode: required}}}\n"+
		"  listed.test: {backends: [BACKEND], tenant: c, addresses: {deny: [\"file:"+dir+"/list\"]}, tls: {redirect_http: false}}\n"+
		"  other.test: {backends: [BACKEND], tenant: b, tls: {redirect_http: false}}\n")
	g.authorities.poll(t.Context())
	if err := g.ClientAuthProblem("auth.test"); err == nil || !strings.Contains(err.Error(), "takes too long") {
		t.Errorf("problem of auth.test is %v", err)
	}
	for _, host := range []string{"other.test", "listed.test"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+g.http+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("%s: status %d", host, resp.StatusCode)
		}
	}
	if problems := g.AddressProblems("listed.test"); len(problems) != 1 || !strings.Contains(problems[0].Error(), "takes too long") {
		t.Errorf("problems of listed.test are %v", problems)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	release()
}
