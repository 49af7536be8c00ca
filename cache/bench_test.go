package cache

import (
	"fmt"
	"testing"
)

// benchRequest has the fields of a usual browser.
func benchRequest() *Request {
	return get("/assets/app.js",
		"Host", "www.shop.test",
		"User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
		"Accept", "*/*",
		"Accept-Language", "en-GB,en;q=0.5",
		"Accept-Encoding", "gzip, deflate, br, zstd",
		"Referer", "https://www.shop.test/",
		"Cookie", "session=0123456789abcdef0123456789abcdef",
	)
}

// BenchmarkHit is the cache's part of a hit: a hundred thousand stored keys,
// one of them read.
func BenchmarkHit(b *testing.B) {
	for _, vary := range []string{"", "Accept-Encoding"} {
		b.Run("vary="+vary, func(b *testing.B) {
			s, _ := newStore(b, 256<<20)
			for i := range 100_000 {
				req := get(fmt.Sprintf("/%d", i))
				s.Lookup(req, &Policy{})
				put(b, s, req, answer(200, fresh...), "body")
			}
			fill(b, s, benchRequest(), answer(200, "Cache-Control", "max-age=60", "Vary", vary), "body")
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				req, policy := benchRequest(), &Policy{}
				for pb.Next() {
					if l := s.Lookup(req, policy); l.Entry == nil {
						b.Error("no hit")
						return
					}
				}
			})
		})
	}
}

// BenchmarkFill is a miss, its decision and its Put in a full store.
func BenchmarkFill(b *testing.B) {
	s, _ := newStore(b, 16<<20)
	body := make([]byte, 4096)
	resp := answer(200, fresh...)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		req := get(fmt.Sprintf("/%d", i))
		i++
		s.Lookup(req, &Policy{})
		_ = s.Put(NewEntry(req, resp, Decide(req, resp, &Policy{}), nil, 300, body, ""))
	}
}
