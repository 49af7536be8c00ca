package admin_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"gatehouse/admin"
	"gatehouse/admin/admintest"
)

func TestEventsAreAskedForStrictly(t *testing.T) {
	var asked admin.EventQuery
	n := admintest.Start(t, twoTenants, admin.Options{
		Node: "n1",
		Events: func(_ context.Context, q admin.EventQuery) (admin.EventList, error) {
			asked = q
			switch q.ID {
			case "n2-0123456789abcdef":
				return admin.EventList{Elsewhere: "n2"}, nil
			case "unread":
				return admin.EventList{Problem: "files of WAF events cannot be read: disk on fire"}, nil
			case "broken":
				return admin.EventList{}, errors.New("house on fire")
			case "":
				return admin.EventList{}, nil
			}
			return admin.EventList{Events: []admin.Event{{ID: q.ID, Vhost: "www.shop.test"}}[:len(q.ID)%2]}, nil
		},
		Report: func(_ context.Context, q admin.EventQuery) (admin.EventReport, error) {
			asked = q
			return admin.EventReport{Groups: make([]admin.EventGroup, 70)}, nil
		},
	})
	c := onSocket(t, n)
	var text string
	want(t, "nothing asked", c.call("GET", "/waf/events", "", &text), 200)
	want(t, "no events", strings.Join(strings.Fields(text), ""), `{"events":[],"more":false}`)
	want(t, "defaults", asked, admin.EventQuery{Most: 50})
	want(t, "all asked", c.call("GET", "/waf/events?tenant=shop&vhost=*.A.test&id=odd&rule=942100&since=2d&n=1000", "", &text), 200)
	want(t, "query", asked, admin.EventQuery{Tenant: "shop", Vhost: "*.a.test", ID: "odd", Rule: 942100, Since: 48 * time.Hour, Most: 1000})
	for query, says := range map[string]string{
		"tenant=a/b":     "bad tenant name",
		"rule=x":         "want a number, such as 942100",
		"rule=-1":        "want a number",
		"since=soon":     "bad duration",
		"n=0":            "want 1 to 1000",
		"n=1001":         "want 1 to 1000",
		"tennant=shop":   `unknown parameter \"tennant\"`,
		"rule=1&rule=2":  "want one value",
		"tenant=":        "want one value",
		"since=-1h&n=10": "must not be negative",
	} {
		want(t, query, c.call("GET", "/waf/events?"+query, "", &text), 400)
		contains(t, query, text, says)
	}
	want(t, "absent", c.call("GET", "/waf/events?id=even", "", &text), 404)
	contains(t, "absent", text, "no WAF event of request even")
	want(t, "elsewhere", c.call("GET", "/waf/events?id=n2-0123456789abcdef", "", &text), 404)
	contains(t, "elsewhere", text, "was answered by node n2: ask there (this is n1)")
	want(t, "broken", c.call("GET", "/waf/events?id=broken", "", &text), 500)
	contains(t, "broken", text, "house on fire")
	want(t, "unread", c.call("GET", "/waf/events?id=unread", "", &text), 404)
	contains(t, "unread", text, "no WAF event of request unread in memory, and files of WAF events cannot be read: disk on fire")

	var r admin.EventReport
	want(t, "report", c.call("GET", "/waf/report?tenant=shop", "", &r), 200)
	want(t, "groups", len(r.Groups), 50)
	want(t, "more", r.More, true)
	want(t, "report by id", c.call("GET", "/waf/report?id=a", "", &text), 400)
	want(t, "on the operations listener", onTCP(t, n.Public).call("GET", "/waf/events", "", &text), 404)
}

func TestNodeWithoutEventsSaysSo(t *testing.T) {
	n := admintest.Start(t, twoTenants, admin.Options{})
	for _, path := range []string{"/waf/events", "/waf/report?tenant=shop"} {
		var text string
		want(t, path, onSocket(t, n).call("GET", path, "", &text), 501)
		contains(t, path, text, "keeps no WAF events")
	}
}
