package cache_test

import (
	"fmt"
	"time"

	"gatehouse/cache"
)

// header is the smallest Header.
type header map[string]string

func (h header) PeekAll(name string) [][]byte {
	if v, ok := h[name]; ok {
		return [][]byte{[]byte(v)}
	}
	return nil
}

func Example() {
	now := func() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) }
	store, err := cache.New(cache.Options{MaxBytes: 16 << 20, Now: now})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	policy := &cache.Policy{}
	for range 2 {
		req := &cache.Request{
			Method: "GET",
			Header: header{},
			Key:    cache.AppendKey(nil, "shop", "www.shop.test", "https", "www.shop.test", "/logo.svg"),
		}
		lookup := store.Lookup(req, policy)
		var outcome cache.Outcome
		if lookup.Entry == nil { // the request is forwarded, and this comes back
			resp := &cache.Response{
				Status: 200, Header: header{"Cache-Control": "max-age=3600"}, BodyLength: 4, Received: now(),
			}
			decision := cache.Decide(req, resp, policy)
			outcome.Detail = string(decision.Reason)
			if decision.Store && lookup.MayStore {
				outcome.Stored = store.Put(cache.NewEntry(req, resp, decision, nil, 0, []byte("logo"), "")) == nil
			}
		}
		fmt.Println(string(cache.FormatStatus(nil, &lookup, outcome)))
	}
	// Output:
	// gatehouse; fwd=uri-miss; stored
	// gatehouse; hit; ttl=3600
}
