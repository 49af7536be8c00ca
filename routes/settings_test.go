package routes

import (
	"testing"
	"time"
)

func TestSettingsResolveVhostOverTenantOverDefaults(t *testing.T) {
	yes, no := true, false
	table, _ := with(&Table{},
		Change{Key: Key{KindTenant, "shop"}, Tenant: &Tenant{Name: "shop", WAF: &WAF{Mode: "block", Paranoia: 2, Responses: &yes, AllowedMethods: []string{"GET"}}}},
		Change{Key: Key{KindVhost, "a.test"}, Vhost: &Vhost{
			Name: "a.test", Tenant: "shop", Balance: "random", WAF: &WAF{Paranoia: 3, Responses: &no},
			Timeouts: &Timeouts{Connect: Duration(time.Second)}, Cache: &Cache{Enabled: &yes, TTL: Duration(time.Minute)},
			TLS: &TLS{HSTS: Duration(time.Hour), RedirectHTTP: "true"},
		}},
		vhostChange("plain.test", ""), vhostChange("orphan.test", "nobody"))
	s := table.Match("a.test").Settings(&Tenant{WAF: &WAF{Mode: "off"}})
	if w := s.WAF; w.Mode != "block" || w.Paranoia != 3 || *w.Responses || len(w.AllowedMethods) != 1 || w.InboundThreshold != 5 || w.OutboundThreshold != 4 || w.InspectBody != 128<<10 || w.OnError != "pass" || w.OnOversize != "pass" {
		t.Errorf("waf: %+v", w)
	}
	if s.Tenant != "shop" || s.Balance != "random" || s.ConnectTimeout != time.Second || s.FirstByte != time.Minute ||
		!s.Cache || s.CacheTTL != time.Minute || s.CacheMaxBody != 1<<20 || s.MinTLS != "1.2" || s.RedirectHTTP != "true" || s.HSTS != time.Hour {
		t.Errorf("got %+v", s)
	}
	for _, host := range []string{"plain.test", "orphan.test"} {
		if s := table.Match(host).Settings(&Tenant{WAF: &WAF{Mode: "off"}}); s.WAF.Mode != "off" || *s.WAF.Responses || s.Balance != "p2c" || s.Cache || s.RedirectHTTP != "auto" {
			t.Errorf("%s: the process's defaults are not in force: %+v", host, s)
		}
		if s := table.Match(host).Settings(nil); s.WAF.Mode != "detect" || s.WAF.Paranoia != 1 || s.FirstByte != time.Minute || s.ConnectTimeout != 3*time.Second {
			t.Errorf("%s: the built-in defaults are not in force: %+v", host, s)
		}
	}
}
