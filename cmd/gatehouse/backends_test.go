package main

import (
	"errors"
	"testing"

	"gatehouse/admin"
	"gatehouse/edge/health"
)

// Another tenant may name the same URL as his only backend: whoever drains it for his own is told whose vhost is in the way, and what to do.
func TestARefusedDrainTellsWhoseVhostsAreInTheWayAndHowToGoOn(t *testing.T) {
	whose := map[string]string{"a.test": "shop", "b.test": "blog"}
	const url = "http://10.0.0.1:9000"
	for _, c := range []struct {
		name, tenant string
		vhosts       []string
		would        string
		naming       []string
		want         string
	}{
		{"nobody's", "", []string{"x.test"}, wouldBeBare, []string{""}, " of x.test, which would answer 503; --yes drains it all the same"},
		{"one tenant's", "", []string{"a.test"}, wouldBeBare, []string{"shop", "shop"}, " of a.test, which would answer 503; --yes drains it all the same"},
		{
			"another tenant's", "",
			[]string{"a.test"},
			wouldBeBare,
			[]string{"", "blog", "shop"},
			" of a.test (tenant shop), which would answer 503; --tenant blog drains it as that tenant's alone, --yes drains it all the same",
		},
		{
			"another's of many", "",
			[]string{"a.test"},
			wouldBeUnwell,
			[]string{"shop", "blog", "news", "news"},
			" that is well of a.test (tenant shop); --tenant drains it as one tenant's alone (blog, news have others), --yes drains it all the same",
		},
		{"with --tenant", "shop", []string{"a.test"}, wouldBeBare, nil, " of a.test, which would answer 503; --yes drains it all the same"},
		{"both tenants'", "", []string{"a.test", "b.test"}, wouldBeBare, []string{"blog", "shop"}, " of a.test (tenant shop), b.test (tenant blog), which would answer 503; --yes drains it all the same"},
	} {
		err := refusedDrain(health.Drain{URL: url, Tenant: c.tenant}, c.vhosts, c.would, whose, c.naming)
		if !errors.Is(err, admin.ErrLastBackend) {
			t.Errorf("%s: %v", c.name, err)
		}
		want(t, c.name, err.Error(), url+" is not drained: it is the last one"+c.want)
	}
}
