package admin_test

import (
	"encoding/json"
	"strings"
	"testing"

	"gatehouse/admin"
	"gatehouse/admin/admintest"
)

func TestRatesAreSetByFieldAndAsAWhole(t *testing.T) {
	n := admintest.Start(t, twoTenants, admin.Options{})
	c := onSocket(t, n)
	for _, step := range []struct {
		path, body string
		status     int
		want       string // the rate of www.shop.test
	}{
		{"/vhosts/www.shop.test", `{"set": {"rate.requests": "5"}}`, 200, `{"requests":5}`},
		{"/vhosts/www.shop.test", `{"set": {"rate.per": "1m", "rate.key": "header:X-Api-Key"}}`, 200, `{"requests":5,"per":"1m","key":"header:x-api-key"}`},
		{"/vhosts/www.shop.test", `{"set": {"rate": "{\"requests\": 7}"}}`, 200, `{"requests":7}`},
		{"/vhosts/www.shop.test", `{"set": {"rate": "[{\"requests\": 7}, {\"requests\": 9, \"key\": \"all\"}]"}}`, 200, `[{"requests":7},{"requests":9,"key":"all"}]`},
		{"/vhosts/www.shop.test", `{"set": {"rate.requests": "5"}}`, 422, "rate: has no fields below it"},
		{"/vhosts/www.shop.test", `{"set": {"rate": "{requests: 7}"}}`, 422, `want a mapping, written as JSON, such as {"requests": 100, "per": "1s"}`},
		{"/vhosts/www.shop.test", `{"set": {"rate": "100"}}`, 422, `want a list, written as JSON, such as [{"requests": 100, "per": "1s"}]`},
		{"/vhosts/www.shop.test", `{"set": {"rate": "[{\"requests\": 7, \"key\": \"ips\"}]"}}`, 422, `rate.key: bad key "ips"`},
		{"/tenants/shop", `{"set": {"rate.requests": 50}}`, 200, `[{"requests":7},{"requests":9,"key":"all"}]`},
	} {
		var answer json.RawMessage
		want(t, step.body, c.call("PATCH", step.path, step.body, &answer), step.status)
		if step.status != 200 {
			var problem struct{ Error string }
			if err := json.Unmarshal(answer, &problem); err != nil || !strings.Contains(problem.Error, step.want) {
				t.Errorf("%s: %s, want %s", step.body, answer, step.want)
			}
			continue
		}
		var v admin.VhostDetail
		want(t, "status", c.call("GET", "/vhosts/www.shop.test", "", &v), 200)
		got, err := json.Marshal(v.Document.Rate())
		if err != nil {
			t.Fatal(err)
		}
		want(t, step.body, string(got), step.want)
	}
	var v admin.VhostDetail
	c.call("GET", "/vhosts/www.shop.test", "", &v)
	var effective []string
	for _, e := range v.Effective {
		if e.Path == "rate" {
			effective = append(effective, e.Value+" ("+e.From+")")
		}
	}
	want(t, "effective", strings.Join(effective, "; "), "50 per 1s by ip (tenant shop); 7 per 1s by ip (vhost); 9 per 1s of all (vhost)")
}
