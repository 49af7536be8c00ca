package main

import (
	"errors"
	"testing"

	"gatehouse/admin"
	"gatehouse/edge/health"
)

// Who undrains for the wrong tenant is told for whom the backend is drained.
func TestUndrainHintsAtTheTenantOfTheDrain(t *testing.T) {
	t.Parallel()
	drains := []health.Drain{{URL: "http://10.0.0.1", Tenant: "shop"}, {URL: "http://10.0.0.2"}}
	for d, says := range map[health.Drain]string{
		{URL: "http://10.0.0.1", Tenant: "shop"}: "",
		{URL: "http://10.0.0.1"}:                 "no such backend that is drained: http://10.0.0.1; it is drained for tenant shop (--tenant shop)",
		{URL: "http://10.0.0.2", Tenant: "shop"}: "no such backend that is drained of tenant shop: http://10.0.0.2; it is drained for everybody (without --tenant)",
		{URL: "http://10.0.0.3"}:                 "no such backend that is drained: http://10.0.0.3 (see gatehouse backend list)",
	} {
		err := isDrained(drains, &d)
		if says == "" {
			want(t, d.URL, err, nil)
			continue
		}
		want(t, d.URL, err.Error(), says)
		want(t, d.URL, errors.Is(err, admin.ErrNoBackend), true)
	}
}
