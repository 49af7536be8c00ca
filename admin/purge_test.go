package admin_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"gatehouse/admin"
	"gatehouse/admin/admintest"
)

func TestPurgesAreAskedForStrictly(t *testing.T) {
	var asked admin.PurgeRequest
	var patience time.Duration
	n := admintest.Start(t, twoTenants, admin.Options{
		Node: "n1",
		Purge: func(ctx context.Context, r admin.PurgeRequest) (admin.PurgeResult, error) {
			asked = r
			deadline, _ := ctx.Deadline()
			patience = time.Until(deadline).Round(time.Second)
			switch r.Host {
			case "nobody.test":
				return admin.PurgeResult{}, fmt.Errorf("%w for %s", admin.ErrNoVhost, r.Host)
			case "broken.test":
				return admin.PurgeResult{}, errors.New("bad host")
			}
			return admin.PurgeResult{Purged: "it", ID: "1-1"}, nil
		},
	})
	c := onSocket(t, n)
	var r admin.PurgeResult
	var text string
	want(t, "URL", c.call("POST", "/cache/purge", `{"url": "https://www.shop.test/a", "soft": true, "by": "ops"}`, &r), 200)
	want(t, "asked", asked, admin.PurgeRequest{URL: "https://www.shop.test/a", Soft: true, By: "ops"})
	want(t, "patience", patience, admin.DefaultPurgeWait)
	want(t, "answer", r.ID, "1-1")
	want(t, "tag", c.call("POST", "/cache/purge", `{"tag": "a", "tenant": "shop", "wait": "1m"}`, &r), 200)
	want(t, "patience", patience, admin.MaxPurgeWait)
	for body, says := range map[string]string{
		`{}`:                                "one of url, prefix, host, tenant and all",
		`{"url": "x", "host": "y"}`:         "one of url, prefix, host, tenant and all",
		`{"tag": "x", "all": true}`:         "give one of them beside it",
		`{"tag": "x"}`:                      "one of url",
		`{"tag": "x\ny", "host": "a.test"}`: "no answer can have it",
		`{"all": true, "wait": "2m"}`:       "want 0s to 1m0s",
		`{"al": true}`:                      "unknown field",
	} {
		want(t, body, c.call("POST", "/cache/purge", body, &text), 400)
		contains(t, body, text, says)
	}
	for body, says := range map[string]string{`{"tenant": "nobody"}`: "there is no tenant nobody", `{"host": "nobody.test"}`: "no vhost answers for nobody.test"} {
		want(t, body, c.call("POST", "/cache/purge", body, &text), 404)
		contains(t, body, text, says)
	}
	want(t, "broken", c.call("POST", "/cache/purge", `{"host": "broken.test"}`, &text), 422)
	want(t, "on the operations listener", onTCP(t, n.Public).call("POST", "/cache/purge", `{"all": true}`, &text), 404)
}

func TestFiguresOfTheCache(t *testing.T) {
	n := admintest.Start(t, twoTenants, admin.Options{
		Node: "n1",
		CacheFigures: func() []admin.CacheFigures {
			return []admin.CacheFigures{{Tenant: "shop", Vhost: "www.shop.test", Entries: 3}, {Tenant: "old", Vhost: "www.shop.test"}, {Vhost: "gone.test"}}
		},
	})
	c := onSocket(t, n)
	var stats admin.CacheStats
	var text string
	want(t, "all", c.call("GET", "/cache/stats", "", &stats), 200)
	want(t, "all", len(stats.Vhosts), 3)
	want(t, "one", c.call("GET", "/cache/stats?host=WWW.shop.test:443", "", &stats), 200)
	want(t, "one", len(stats.Vhosts), 1)
	want(t, "one", stats.Vhosts[0].Entries, 3)
	want(t, "nobody's", c.call("GET", "/cache/stats?host=nobody.test", "", &text), 404)
	contains(t, "nobody's", text, "no vhost answers for nobody.test")

	none := onSocket(t, admintest.Start(t, twoTenants, admin.Options{}))
	want(t, "no cache", none.call("GET", "/cache/stats", "", &text), 501)
	want(t, "no cache", none.call("POST", "/cache/purge", `{"all": true}`, &text), 501)
}
