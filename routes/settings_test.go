package routes

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

func TestSettingsResolveVhostOverTenantOverDefaults(t *testing.T) {
	yes, no := true, false
	table, _ := with(&Table{},
		Change{Key: Key{KindTenant, "shop"}, Tenant: &Tenant{Name: "shop", WAF: &WAF{Mode: "block", Paranoia: 2, Responses: &yes, AllowedMethods: []string{"GET"}}}},
		Change{Key: Key{KindVhost, "a.test"}, Vhost: &Vhost{
			Name: "a.test", Tenant: "shop", WAF: &WAF{Paranoia: 3, Responses: &no},
			VhostExtras: &VhostExtras{Balance: "random", Compress: "on", Timeouts: &Timeouts{Connect: Duration(time.Second)}},
			Cache:       &Cache{Enabled: &yes, TTL: Duration(time.Minute)},
			TLS:         &TLS{HSTS: &HSTS{MaxAge: Duration(time.Hour)}, RedirectHTTP: "true"},
		}},
		vhostChange("plain.test", ""), vhostChange("orphan.test", "nobody"))
	s := table.Match("a.test").Settings(&Tenant{WAF: &WAF{Mode: "off"}})
	if w := s.WAF; w.Mode != "block" || w.Paranoia != 3 || *w.Responses || len(w.AllowedMethods) != 1 || w.InboundThreshold != 5 || w.OutboundThreshold != 4 || w.InspectBody != 128<<10 || w.OnError != "pass" || w.OnOversize != "pass" {
		t.Errorf("waf: %+v", w)
	}
	if s.Tenant != "shop" || s.Balance != "random" || s.ConnectTimeout != time.Second || s.FirstByte != time.Minute ||
		!s.Cache || s.CacheTTL != time.Minute || s.CacheMaxBody != 1<<20 || s.Compress != "on" || s.MinTLS != "1.2" || s.RedirectHTTP != "true" || s.HSTS.MaxAge != Duration(time.Hour) {
		t.Errorf("got %+v", s)
	}
	for _, host := range []string{"plain.test", "orphan.test"} {
		if s := table.Match(host).Settings(&Tenant{WAF: &WAF{Mode: "off"}}); s.WAF.Mode != "off" || *s.WAF.Responses || s.Balance != "p2c" || s.Cache || s.Compress != "off" || s.RedirectHTTP != "auto" {
			t.Errorf("%s: the process's defaults are not in force: %+v", host, s)
		}
		if s := table.Match(host).Settings(nil); s.WAF.Mode != "detect" || s.WAF.Paranoia != 1 || s.FirstByte != time.Minute || s.ConnectTimeout != 3*time.Second {
			t.Errorf("%s: the built-in defaults are not in force: %+v", host, s)
		}
	}
}

func TestSettingsOfTheCache(t *testing.T) {
	yes, zero, hour := true, Duration(0), Duration(time.Hour)
	of := func(c *Cache) Settings { return (&Route{Vhost: &Vhost{Cache: c}}).Settings(nil) }
	for _, s := range []Settings{of(nil), of(&Cache{}), of(&Cache{Query: &CacheQuery{}, Key: &CacheKey{}, Bypass: &CacheBypass{}})} {
		if s.CacheStaleIfError != time.Hour || s.CacheStaleWhileRevalidate != 0 || s.CacheIgnoreClientNoCache || *s.CacheQuery.Sort || s.CacheQuery.Only != nil || *s.CacheKey.Device || s.CacheRules != nil {
			t.Errorf("the defaults: %+v", s)
		}
	}
	s := of(&Cache{
		StaleIfError: &zero, StaleWhileRevalidate: hour, IgnoreClientNoCache: &yes, Query: &CacheQuery{Only: []string{}, Sort: &yes},
		Key: &CacheKey{Device: &yes, Cookies: []string{"a"}}, Bypass: &CacheBypass{Query: []string{"b"}}, Rules: []CacheRule{{TTL: &hour}},
	})
	if s.CacheStaleIfError != 0 || s.CacheStaleWhileRevalidate != time.Hour || !s.CacheIgnoreClientNoCache || !*s.CacheQuery.Sort || s.CacheQuery.Only == nil ||
		!*s.CacheKey.Device || len(s.CacheKey.Cookies) != 1 || len(s.CacheBypass.Query) != 1 || len(s.CacheRules) != 1 {
		t.Errorf("what is set: %+v", s)
	}
}

// That no parameter counts is kept wherever a document is written.
func TestNoParametersAreKeptInWriting(t *testing.T) {
	for _, only := range [][]string{nil, {}, {"id"}} {
		was := Vhost{Name: "a.test", Backends: []Backend{{URL: "http://10.0.0.1"}}, Cache: &Cache{Query: &CacheQuery{Only: only}}}
		inJSON, err := json.Marshal(&was)
		if err != nil {
			t.Fatal(err)
		}
		inYAML, err := yaml.Marshal(map[string]any{"vhosts": map[string]any{"a.test": &was}})
		if err != nil {
			t.Fatal(err)
		}
		docs, problems := ParseFile("f", inYAML)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		for _, doc := range []Document{ParseJSON(Key{KindVhost, "a.test"}, "k", inJSON), docs[0]} {
			if doc.Vhost == nil || !reflect.DeepEqual(doc.Vhost.Cache.Query.Only, only) {
				t.Errorf("%#v: %s\n%s: %+v", only, inJSON, inYAML, doc)
			}
		}
	}
}

func TestBoundsOfTheCache(t *testing.T) {
	many := make([]string, 65)
	for i := range many {
		many[i] = fmt.Sprintf("/n%d", i)
	}
	ttl := Duration(time.Hour)
	for name, c := range map[string]*Cache{
		"cache.bypass.paths: 65 entries: at most 64":           {Bypass: &CacheBypass{Paths: many}},
		"cache.query.ignore: 65 entries: at most 64":           {Query: &CacheQuery{Ignore: many}},
		"cache.rules: 65 rules: at most 64":                    {Rules: make([]CacheRule, 65)},
		"cache.rules: more than 64 paths in all rules":         {Rules: []CacheRule{{TTL: &ttl, Paths: many[:32]}, {TTL: &ttl, Paths: many[:33]}}},
		"cache.rules[0].status: 65 entries: at most 64":        {Rules: []CacheRule{{TTL: &ttl, Status: make([]int, 65)}}},
		"cache.bypass.paths[0]: bad path \"/aaaaaaaaaaaaaaaaa": {Bypass: &CacheBypass{Paths: []string{"/" + strings.Repeat("a", 200)}}},
	} {
		v := &Vhost{Name: "a.test", Backends: []Backend{{URL: "http://10.0.0.1"}}, Cache: c}
		if problems := v.Check("f"); len(problems) != 1 || !strings.Contains(problems.Error(), name) {
			t.Errorf("%s: %v", name, problems)
		}
	}
	v := &Vhost{Name: "a.test", Backends: []Backend{{URL: "http://10.0.0.1"}}, Cache: &Cache{Bypass: &CacheBypass{Paths: many[:64]}}}
	if problems := v.Check("f"); len(problems) > 0 {
		t.Error(problems)
	}
}

// A vhost's profile and apps replace its tenant's; an empty list is none of them.
func TestProfileAndAppsAreInherited(t *testing.T) {
	for _, c := range []struct {
		tenant, vhost *WAF
		profile, apps string
	}{
		{nil, nil, "complete", "[]"},
		{&WAF{Profile: "strong", Apps: []string{"drupal"}}, nil, "strong", "[drupal]"},
		{&WAF{Profile: "strong", Apps: []string{"drupal"}}, &WAF{Mode: WAFBlock}, "strong", "[drupal]"},
		{&WAF{Profile: "strong", Apps: []string{"drupal"}}, &WAF{Profile: "none", Apps: []string{"nextcloud", "wordpress"}}, "none", "[nextcloud wordpress]"},
		{&WAF{Apps: []string{"drupal"}}, &WAF{Apps: []string{}}, "complete", "[]"},
	} {
		r := &Route{Vhost: &Vhost{WAF: c.vhost}, Tenant: &Tenant{WAF: c.tenant}}
		s := r.Settings(nil)
		if got := fmt.Sprint(s.WAF.Apps); s.WAF.Profile != c.profile || got != c.apps {
			t.Errorf("%+v over %+v: %s %s, want %s %s", c.vhost, c.tenant, s.WAF.Profile, got, c.profile, c.apps)
		}
	}
}

// That a vhost has no apps is kept wherever its document is written: in Redis, in last good forms, in files.
func TestNoAppsIsKeptInWriting(t *testing.T) {
	for _, apps := range [][]string{nil, {}, {"drupal"}} {
		was := Vhost{Name: "a.test", Backends: []Backend{{URL: "http://10.0.0.1"}}, WAF: &WAF{Mode: WAFBlock, Apps: apps}}
		inJSON, err := json.Marshal(&was)
		if err != nil {
			t.Fatal(err)
		}
		inYAML, err := yaml.Marshal(map[string]any{"vhosts": map[string]any{"a.test": &was}})
		if err != nil {
			t.Fatal(err)
		}
		docs, problems := ParseFile("f", inYAML)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		for _, doc := range []Document{ParseJSON(Key{KindVhost, "a.test"}, "k", inJSON), docs[0]} {
			if doc.Vhost == nil || !reflect.DeepEqual(doc.Vhost.WAF.Apps, apps) {
				t.Errorf("%#v: %s\n%s: %+v", apps, inJSON, inYAML, doc)
			}
		}
	}
}
