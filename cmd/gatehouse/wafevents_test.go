package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"gatehouse/admin"
	"gatehouse/admin/admintest"
)

// keeper has three events of tenant shop.
func keeper(asked *admin.EventQuery) admin.Options {
	at := time.Date(2026, 11, 28, 13, 0, 5, 0, time.UTC)
	sqli := admin.Match{ID: 942100, Message: "SQL injection", Severity: "critical", Target: "ARGS:q", Data: "1' OR\x1b[2J", Score: 5}
	agent := admin.Match{ID: 913100, Message: "Scanner", Severity: "notice", Target: "REQUEST_HEADERS:User-Agent", Data: "x", Score: 2}
	event := func(id, verdict string, matches ...admin.Match) admin.Event {
		return admin.Event{
			Time: at, ID: id, Node: "n1", Tenant: "shop", Vhost: "www.shop.test", Client: "192.0.2.1", Method: "GET", Path: "/search",
			Phase: "request", Mode: "block", Verdict: verdict, Score: 5, Threshold: 5, Rules: matches,
		}
	}
	list := []admin.Event{event("n1-3", admin.VerdictBlock, agent, sqli), event("n1-2", admin.VerdictDetect, sqli), event("n1-1", admin.VerdictPass)}
	list[1].LeftOut, list[0].Cut = 12, true
	list[2].RefusedBy, list[2].Rules = 200009, []admin.Match{sqli, {ID: 200009, Message: "Bad escape"}}
	return admin.Options{
		Node: "n1",
		Events: func(_ context.Context, q admin.EventQuery) (admin.EventList, error) {
			*asked = q
			switch q.ID {
			case "":
				return admin.EventList{Events: list, More: true, Unreadable: 1, Problem: "files cannot be read"}, nil
			case "n1-3":
				return admin.EventList{Events: list[:1]}, nil
			}
			return admin.EventList{Elsewhere: "n2"}, nil
		},
		Report: func(_ context.Context, q admin.EventQuery) (admin.EventReport, error) {
			*asked = q
			return admin.EventReport{
				Since: at.Add(-time.Hour), Events: 212, Clients: 10_000, LeftOut: 7, Verdicts: map[string]int{"block": 3, "detect": 200, "pass": 9},
				Groups: []admin.EventGroup{{
					Rule: 942100, Message: "SQL injection", Vhost: "www.shop.test", Path: "/search", Target: "ARGS:q",
					Events: 200, Refused: 198, Clients: 100, First: at, Last: at, Example: "n1-3",
				}},
			}, nil
		},
	}
}

func TestWAFEventsOfARunningNode(t *testing.T) {
	var asked admin.EventQuery
	n := admintest.Start(t, sites, keeper(&asked))
	t.Chdir(n.Dir)
	code, out, errOut := invoke(t, "waf", "events", "-t", "shop", "--vhost", "www.shop.test", "--since", "2d", "--rule", "942100", "-n", "3")
	want(t, "list"+errOut, code, exitOK)
	want(t, "query", asked, admin.EventQuery{Tenant: "shop", Vhost: "www.shop.test", Since: 48 * time.Hour, Rule: 942100, Most: 3})
	want(t, "table", out, strings.TrimLeft(`
TIME                  ID    TENANT  VHOST          VERDICT  SCORE        RULE       TARGET  DATA
2026-11-28T13:00:05Z  n1-3  shop    www.shop.test  block    5 of 5       942100 +1  ARGS:q  1' OR\x1b[2J
2026-11-28T13:00:05Z  n1-2  shop    www.shop.test  detect   5 of 5       942100     ARGS:q  1' OR\x1b[2J
2026-11-28T13:00:05Z  n1-1  shop    www.shop.test  pass     rule 200009  200009 +1  -       -
note: there are older ones; -n prints more than 3
note: 12 more came with these, too many in one second to be kept
note: 1 lines of the files could not be read: a crash or a full disk has torn them
note: files cannot be read
`, "\n"))

	code, out, _ = invoke(t, "waf", "events", "--id", "n1-3")
	want(t, "one", code, exitOK)
	contains(t, "one", out, "id       n1-3\n", "request  GET /search\n", "client   192.0.2.1\n", "verdict  block (request, mode block)\n",
		"942100  +5     critical  ARGS:q", "913100  +2     notice", "longer than what is kept")
	code, _, errOut = invoke(t, "waf", "events", "--id", "n2-0123456789abcdef")
	want(t, "another node's", code, exitFailed)
	contains(t, "another node's", errOut, "was answered by node n2: ask there (this is n1)")

	_, out, _ = invoke(t, "waf", "events", "-o", "json")
	var list admin.EventList
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Events) != 3 || list.Events[0].Rules[1].Target != "ARGS:q" || !list.More {
		t.Errorf("%v: %s", err, out)
	}
}

func TestWAFReportOfARunningNode(t *testing.T) {
	var asked admin.EventQuery
	n := admintest.Start(t, sites, keeper(&asked))
	t.Chdir(n.Dir)
	code, out, errOut := invoke(t, "waf", "report", "-t", "shop", "--since", "7d")
	want(t, "report"+errOut, code, exitOK)
	want(t, "query", asked, admin.EventQuery{Tenant: "shop", Since: 7 * 24 * time.Hour, Most: admin.DefaultGroups})
	want(t, "table", out, strings.TrimLeft(`
since 2026-11-28T12:00:05Z: 212 events of 10000+ clients (3 blocked, 200 would have been, 9 only matched)

RULE    EVENTS  REFUSED  CLIENTS  VHOST          PATH     TARGET  LAST                  EXAMPLE  MESSAGE
942100  200     198      100+     www.shop.test  /search  ARGS:q  2026-11-28T13:00:05Z  n1-3     SQL injection
note: 7 more came with these, too many in one second to be kept
`, "\n"))
	_, out, _ = invoke(t, "waf", "report", "--vhost", "www.shop.test", "-o", "json")
	var r admin.EventReport
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Groups[0].Refused != 198 {
		t.Errorf("%v: %s", err, out)
	}
}

func TestMistakesInEventQueriesAreOnesOfUsage(t *testing.T) {
	t.Chdir(t.TempDir())
	for args, says := range map[string]string{
		"waf":                          "say which: test, events, report",
		"waf events now":               "unknown command",
		"waf events -t a/b":            "--tenant: bad tenant name",
		"waf events --since soon":      "--since: bad duration",
		"waf events --rule -1":         "--rule -1: want a rule's number",
		"waf events -n 0":              "-n 0: want 1 to 1000",
		"waf report":                   "say whose: -t TENANT",
		"waf report -t shop -n 100000": "-n 100000: want 1 to 2000",
	} {
		code, _, errOut := invoke(t, strings.Fields(args)...)
		want(t, args, code, exitUsage)
		contains(t, args, errOut, says)
	}
	code, _, errOut := invoke(t, "waf", "events")
	want(t, "without a node", code, exitFailed)
	contains(t, "without a node", errOut, "is gatehouse serve running?")
}
