package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"gatehouse/admin"
	"gatehouse/admin/admintest"
)

// purger answers purges by their tag.
func purger(asked *admin.PurgeRequest) admin.Options {
	return admin.Options{
		Node: "n1",
		Purge: func(_ context.Context, r admin.PurgeRequest) (admin.PurgeResult, error) {
			*asked = r
			out := admin.PurgeResult{Purged: "tag \"news\" of vhost www.shop.test", ID: "5-0", Soft: r.Soft, Nodes: []admin.PurgeAnswer{
				{Node: "n1", Purged: true, Seconds: 0.0121}, {Node: "n2", Purged: true, Seconds: 0.0002},
			}}
			switch r.Tag {
			case "late":
				out.Nodes = append(out.Nodes, admin.PurgeAnswer{Node: "n3", Silent: 41.7}, admin.PurgeAnswer{Node: "n4", Silent: 1})
			case "alone":
				out.Problem = "redis does not take it"
			case "unawaited":
				out.Nodes = nil
			}
			if r.Host == "nobody.test" {
				return out, fmt.Errorf("%w for %s", admin.ErrNoVhost, r.Host)
			}
			return out, nil
		},
		CacheFigures: func() []admin.CacheFigures {
			return []admin.CacheFigures{
				{Vhost: "blog.test", Requests: map[string]uint64{}},
				{
					Tenant: "shop", Vhost: "www.shop.test", HitPercent: 66.66, Requests: map[string]uint64{"hit": 1, "collapsed": 1, "miss": 1},
					HitForMiss: 4, Bytes: 1536, Entries: 2, Evictions: 7, SavedBytes: 3 << 30,
				},
			}
		},
	}
}

func TestCachePurgePrintsEachNodesAnswer(t *testing.T) {
	var asked admin.PurgeRequest
	n := admintest.Start(t, sites, purger(&asked))
	t.Chdir(n.Dir)
	code, out, errOut := invoke(t, "cache", "purge", "--tag", "news", "--host", "www.shop.test")
	want(t, "all"+errOut, code, exitOK)
	want(t, "all", out, "purged: tag \"news\" of vhost www.shop.test\nn1: purged in 12 ms\nn2: purged in less than 1 ms\n")
	want(t, "wait", asked.Wait.String(), "5s")
	want(t, "by", asked.By != "", true)

	code, out, _ = invoke(t, "cache", "purge", "--tag", "late", "--tenant", "shop", "--soft", "--wait", "100ms")
	want(t, "late", code, exitFailed)
	contains(t, "late", out, "made stale: ", "n1: made stale in 12 ms\n",
		"n3: no answer within 100ms; it was last heard of 42 s ago, and purges when it is back\n", "n4: no answer within 100ms\n")

	code, _, errOut = invoke(t, "cache", "purge", "--tag", "alone", "--host", "www.shop.test")
	want(t, "alone", code, exitFailed)
	contains(t, "alone", errOut, "redis does not take it")
	code, out, _ = invoke(t, "cache", "purge", "--tag", "unawaited", "--host", "www.shop.test", "--wait", "0s")
	want(t, "not waited", code, exitOK)
	contains(t, "not waited", out, "published as 5-0; no answer was waited for")

	code, out, _ = invoke(t, "cache", "purge", "--tag", "late", "--host", "www.shop.test", "-o", "json")
	want(t, "JSON", code, exitFailed)
	contains(t, "JSON", out, `"node": "n3"`, `"purged": false`)
	code, _, errOut = invoke(t, "cache", "purge", "--host", "nobody.test")
	want(t, "nobody's", code, exitFailed)
	contains(t, "nobody's", errOut, "no vhost answers for nobody.test")

	for args, says := range map[string]string{
		"":                               "say what to purge: --url URL",
		"--tag x":                        "say which by --host HOST or --tenant T",
		"--tag x --all":                  "say which by --host HOST or --tenant T",
		"--all --host a.test":            "by one of --url",
		"--url a.test/":                  "want http://host/",
		"--prefix /a":                    "want http://host/",
		"--tenant a/b":                   "bad tenant name",
		"--all --wait 2m":                "want 0s to 1m0s",
		"--tag x --host a --tenant shop": "by one of --url",
		"--all --wait soon":              "want a time with its unit",
		"--url https://a.test/ --hots x": `did you mean "--host"?`,
		"www.shop.test":                  "unknown command",
		"--tag= --host a.test":           "--tag is empty: nothing is purged", // a variable of a script that is not set
		"--url= --host a.test":           "--url is empty",
		"--prefix= --tenant shop":        "--prefix is empty",
	} {
		code, _, errOut := invoke(t, append([]string{"cache", "purge"}, strings.Fields(args)...)...)
		want(t, args, code, exitUsage)
		contains(t, args, errOut, says)
	}
}

func TestCacheStats(t *testing.T) {
	var asked admin.PurgeRequest
	n := admintest.Start(t, sites, purger(&asked))
	t.Chdir(n.Dir)
	code, out, errOut := invoke(t, "cache", "stats")
	want(t, "all"+errOut, code, exitOK)
	want(t, "table", out, strings.TrimLeft(`
VHOST          TENANT  HIT     REQUESTS  BYPASS  STORED   ENTRIES  EVICTED  COLLAPSED  HIT-FOR-MISS  SAVED
blog.test      -       -       0         0       0 B      0        0        0          0             0 B
www.shop.test  shop    66.7 %  3         0       1.5 KiB  2        7        1          4             3.0 GiB
`, "\n"))
	_, out, _ = invoke(t, "cache", "stats", "www.shop.test", "-o", "json")
	contains(t, "JSON", out, `"hit_for_miss": 4`, `"collapsed": 1`)
	code, _, errOut = invoke(t, "cache", "stats", "nobody.test")
	want(t, "nobody's", code, exitFailed)
	contains(t, "nobody's", errOut, "no vhost answers for nobody.test")
}

func TestCompletionOfHosts(t *testing.T) {
	var asked admin.PurgeRequest
	n := admintest.Start(t, sites, purger(&asked))
	t.Chdir(n.Dir)
	_, out, _ := invoke(t, "__complete", "cache", "purge", "--host", "")
	contains(t, "hosts", out, "www.shop.test\n")
	_, out, _ = invoke(t, "__complete", "cache", "purge", "--url", "")
	contains(t, "URLs", out, "https://www.shop.test/\n")
	_, out, _ = invoke(t, "__complete", "cache", "stats", "")
	contains(t, "vhosts", out, "www.shop.test\n")
}
