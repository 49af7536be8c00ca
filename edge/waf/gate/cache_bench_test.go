package gate

import (
	"strconv"
	"testing"
)

const benchCache = 8 << 20

// benchTexts are distinct and of 20 bytes.
func benchTexts(n int) (out []string) {
	for i := range n {
		text := strconv.Itoa(i)
		out = append(out, "value=_"+"0000000000000"[len(text):]+text)
	}
	return out
}

// What a look into a cache costs that is full, for a value that all ask for and for common ones in turn.
func BenchmarkCacheGet(b *testing.B) {
	const common = 4096
	c := newCache(benchCache)
	texts := benchTexts(common + 200_000)
	for i, text := range texts {
		c.put(cacheKey{}, uint32(i/common), text, nil)
	}
	get := func(key cacheKey, texts []string) func(b *testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			known, i := 0, 0
			for b.Loop() {
				if _, ok := c.get(key, 0, texts[i&(len(texts)-1)]); ok {
					known++
				}
				i++
			}
			b.ReportMetric(float64(known)/float64(i), "hits/op")
		}
	}
	b.Run("hit/one", get(cacheKey{}, texts[:1]))
	b.Run("hit/4096", get(cacheKey{}, texts[:common]))
	b.Run("miss/one", get(cacheKey{row: 1}, texts[:1]))
	b.Run("miss/4096", get(cacheKey{row: 1}, texts[:common]))
	b.Run("hit/parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, ok := c.get(cacheKey{}, 0, texts[0]); !ok {
					b.Error("not kept")
				}
			}
		})
	})
}

// What it costs to put a value into an empty cache, one that is there, and one of a flood into a full cache.
func BenchmarkCachePut(b *testing.B) {
	texts := benchTexts(1 << 18)
	b.Run("kept", func(b *testing.B) {
		c := newCache(benchCache)
		c.put(cacheKey{}, 0, texts[0], nil)
		b.ReportAllocs()
		for b.Loop() {
			c.put(cacheKey{}, 0, texts[0], nil)
		}
	})
	flood := func(tenants uint32) func(b *testing.B) {
		return func(b *testing.B) {
			c := newCache(benchCache)
			b.ReportAllocs()
			i := uint32(0)
			for b.Loop() {
				c.put(cacheKey{env: i >> 18}, i%tenants, texts[i&(1<<18-1)], nil)
				i++
			}
		}
	}
	b.Run("flood", flood(1))
	b.Run("flood/3 tenants", flood(3))
}
