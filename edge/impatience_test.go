package edge

import (
	"fmt"
	"net/http"
	"testing"

	"gatehouse/edge/health"
	"gatehouse/internal/edgetest"
)

// A backend that is too slow for one vhost is ejected for that, and for those that wait no longer; a drain is of all.
func TestAnImpatientVhostEjectsABackendForItselfAlone(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	slow := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Host != "patient.test" {
			<-release
		}
	})})
	t.Cleanup(func() { close(release) })
	_, urls := named(t, 2)
	doc := "vhosts:\n"
	for host, timeouts := range map[string]string{
		"impatient.test": "{first_byte: 20ms}", "same.test": "{first_byte: 20ms}", "patient.test": "{connect: 10s, first_byte: 2m}", "usual.test": "{}",
	} {
		doc += fmt.Sprintf("  %s:\n    tenant: shop\n    backends: [%s, %s]\n    balance: round_robin\n    timeouts: %s\n", host, slow.URL, urls, timeouts)
	}
	n := start(t, doc)
	ejected := func(host string) bool {
		left, _ := n.table.Match(host).Compiled().(*site).pool.Members()[0].State().Ejected()
		return left > 0
	}
	n.get(t, "patient.test", "/")
	late := 0
	for range 60 {
		if n.get(t, "impatient.test", "/").Status == 504 {
			late++
		}
	}
	n.who(t, "same.test", "/")
	if late != 5 {
		t.Errorf("%d requests were too late, want 5", late)
	}
	for host, want := range map[string]bool{"impatient.test": true, "same.test": true, "patient.test": false} {
		if ejected(host) != want {
			t.Errorf("%s: ejected: %t", host, !want)
		}
	}
	for range 6 {
		if got := n.get(t, "patient.test", "/").Status; got != 200 {
			t.Errorf("the patient vhost gets %d", got)
		}
	}
	rows := n.Backends("", "")
	if len(rows) != 3 || len(rows[0].Vhosts) != 4 {
		t.Errorf("%+v", rows)
	}
	n.SetDrains([]health.Drain{{URL: slow.URL, Tenant: "shop"}})
	for _, host := range []string{"impatient.test", "patient.test"} {
		if !n.table.Match(host).Compiled().(*site).pool.Members()[0].State().Drained() {
			t.Error(host, "is not drained")
		}
	}
}
