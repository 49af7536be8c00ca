package main

import (
	"cmp"
	"slices"

	"gatehouse/routes"
)

// allowAlone warns of a vhost whose allow keeps nobody out, as that of some other servers would. It keeps all others out where what is asked after
// the vhost denies all, and an exception to what is denied there is not meant to; a list of bad networks there closes nothing.
// tenant may be nil.
func allowAlone(v *routes.Vhost, tenant *routes.Tenant, cfg *Config) routes.Problems {
	own := v.Addresses()
	if own == nil || len(own.Allow) == 0 || len(own.Deny) > 0 || everybody(own.Allow) {
		return nil
	}
	base := cmp.Or(tenant, cfg.Defaults, &routes.Tenant{})
	for _, above := range []*routes.Addresses{base.Addresses, cfg.Addresses.rules()} {
		if above.Empty() {
			continue
		}
		if everybody(above.Allow) {
			break // it wins over the deny beside it, and over all behind it
		}
		if everybody(above.Deny) || exempts(own.Allow, above.Deny) {
			return nil
		}
	}
	return routes.Problems{{Field: "addresses.allow", Reason: "keeps nobody out: all whom no deny names are served, too; to serve these alone, add deny: [all]"}}
}

// everybody reports whether entries have every address, as far as can be seen without reading lists.
func everybody(entries []string) bool {
	return slices.Contains(entries, routes.AllAddresses) || slices.Contains(entries, "0.0.0.0/0") && slices.Contains(entries, "::/0")
}

// maxCompared bounds the pairs of networks that exempts compares: it is asked for each vhost of a list.
const maxCompared = 1000

// exempts reports whether something is allowed that is denied elsewhere. Of more than maxCompared pairs it is not known.
func exempts(allowed, denied []string) bool {
	if len(allowed)*len(denied) > maxCompared {
		return false
	}
	for _, entry := range denied {
		bad, err := routes.ParseNetwork(entry)
		if err != nil { // a list
			continue
		}
		if slices.ContainsFunc(allowed, func(entry string) bool {
			good, err := routes.ParseNetwork(entry)
			return err == nil && good.Overlaps(bad)
		}) {
			return true
		}
	}
	return false
}
