package edge

import (
	"crypto/tls"
	"errors"
	"testing"

	"gatehouse/acme"
)

// encrypted is a guarded node with ECH keys of its own, and the ECHConfigList that DNS would have.
func encrypted(t *testing.T, yaml string) (g *guarded, list []byte) {
	t.Helper()
	keys, err := acme.New(acme.Options{Data: t.TempDir(), Known: func(string) bool { return true }, ECH: acme.ECH{PublicName: "front.test"}})
	if err != nil {
		t.Fatal(err)
	}
	return guard(t, yaml, func(o *Options) { o.ECHKeys = keys.EncryptedClientHelloKeys }), keys.ECHState().ConfigList
}

func withECH(list []byte) func(*tls.Config) {
	return func(c *tls.Config) { c.EncryptedClientHelloConfigList = list }
}

const echSites = `vhosts:
  front.test: {tenant: house, backends: [BACKEND]}
  secret.test: {tenant: shop, backends: [BACKEND], tls: {policy: modern}}
  usual.test: {tenant: blog, backends: [BACKEND]}
`

// All that a server name decides is decided by the encrypted one.
func TestEncryptedNameSelectsTheSite(t *testing.T) {
	t.Parallel()
	g, list := encrypted(t, echSites)
	for host, status := range map[string]int{"secret.test": 200, "front.test": 421, "usual.test": 421} {
		answer, state, err := g.ask(t, g.client("secret.test", withECH(list)), host)
		if err != nil || !state.ECHAccepted || answer.Status != status {
			t.Errorf("Host %s: %v, %v, want status %d", host, answer, err, status)
		}
	}
	if name := g.seen(t).Host; name != "secret.test" {
		t.Errorf("the backend was asked for %s", name)
	}
	if _, _, err := g.ask(t, g.client("nobody.test", withECH(list)), "nobody.test"); err == nil || err.Error() != "remote error: tls: unrecognized name" {
		t.Errorf("an encrypted name that is in no table: %v, want alert 112", err)
	}
	cache := tls.NewLRUClientSessionCache(8)
	resuming := func(c *tls.Config) { c.ClientSessionCache = cache }
	for _, resumed := range []bool{false, true} {
		_, state, err := g.ask(t, g.client("usual.test", withECH(list), resuming), "usual.test")
		if err != nil || !state.ECHAccepted || state.DidResume != resumed {
			t.Errorf("resumed %v: %v, %v", resumed, state.DidResume, err)
		}
	}
	if got := series(t, g.metrics, "gatehouse_tls_ech_accepted_total"); got != 5 {
		t.Errorf("accepted %v, want 5", got)
	}
}

// The keys that a client is told of come from the configuration of the public name's vhost, not from the listener's.
func TestStaleKeyIsAnsweredWithTheKeyOfNow(t *testing.T) {
	t.Parallel()
	g, list := encrypted(t, echSites)
	_, stale := encrypted(t, echSites)
	_, _, err := g.ask(t, g.client("secret.test", withECH(stale)), "secret.test")
	rejection, ok := errors.AsType[*tls.ECHRejectionError](err)
	if !ok || string(rejection.RetryConfigList) != string(list) {
		t.Fatalf("%v, want a rejection with the key of now", err)
	}
	answer, _, err := g.ask(t, g.client("secret.test", withECH(rejection.RetryConfigList)), "secret.test")
	if err != nil || answer.Status != 200 {
		t.Errorf("again with that: %v", err)
	}
	if got := series(t, g.metrics, "gatehouse_tls_ech_accepted_total"); got != 1 {
		t.Errorf("accepted %v, want 1", got)
	}
	plain := guard(t, echSites)
	_, _, err = plain.ask(t, plain.client("secret.test", withECH(list)), "secret.test")
	if rejection, ok = errors.AsType[*tls.ECHRejectionError](err); !ok || rejection.RetryConfigList != nil {
		t.Errorf("where ECH is off: %v, want a rejection without a key: the client does without", err)
	}
}
