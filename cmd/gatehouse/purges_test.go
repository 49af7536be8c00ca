package main

import (
	"testing"

	"gatehouse/cache"
)

func TestPurgesTextNamesThePathVhosts(t *testing.T) {
	purges := []cache.Purge{{Vhost: "a.test", Kind: cache.PurgeAll}}
	for _, want := range []string{
		"vhost a.test", "vhost a.test, with a.test/1", "vhost a.test, with a.test/1, a.test/2", "vhost a.test, with a.test/1, a.test/2, a.test/3",
		"vhost a.test, with a.test/1, a.test/2, a.test/3, a.test/4", "vhost a.test, with a.test/1, a.test/2, a.test/3, a.test/4, a.test/5",
		"vhost a.test, with a.test/1, a.test/2, a.test/3, a.test/4, a.test/5, 1 more",
	} {
		if got := purgesText(purges); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		purges = append(purges, cache.Purge{Vhost: "a.test/" + itoa(len(purges)), Kind: cache.PurgeAll})
	}
}
