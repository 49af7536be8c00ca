package waf

import (
	"fmt"
	"strings"
	"testing"
)

func benchmark(b *testing.B, s sample) {
	e := sharedEngine(b)
	p := &Profile{Mode: Block}
	b.ReportAllocs()
	for b.Loop() {
		tx := e.Begin(p, "bench")
		run(tx, s)
		if tx.Verdict() != nil || tx.Err() != nil {
			b.Fatalf("%+v, %v", tx.Verdict(), tx.Err())
		}
		tx.Close()
	}
}

func BenchmarkGET(b *testing.B) {
	benchmark(b, sample{
		target: "/search?q=red+shoes&page=2&sort=price",
		header: [][2]string{
			{"Accept-Encoding", "gzip, deflate, br"},
			{"Cookie", "sid=0123456789abcdef; theme=dark; lang=en"},
			{"Referer", "https://shop.test/"},
			{"Sec-Fetch-Dest", "document"},
			{"Sec-Fetch-Mode", "navigate"},
			{"Sec-Fetch-Site", "same-origin"},
			{"Upgrade-Insecure-Requests", "1"},
		},
	})
}

func BenchmarkFORM(b *testing.B) {
	var fields []string
	for i := range 10 {
		fields = append(fields, fmt.Sprintf("field%d=some+text+number+%d", i, i))
	}
	benchmark(b, sample{contentType: form, body: strings.Join(fields, "&")})
}

func BenchmarkJSON(b *testing.B) {
	var items []string
	for i := range 30 {
		items = append(items, fmt.Sprintf(`{"id":%d,"name":"article number %d","price":%d.50}`, i, i, i))
	}
	benchmark(b, sample{contentType: "application/json", body: `{"items":[` + strings.Join(items, ",") + `]}`})
}

// BenchmarkBegin is what a tenant's tuning costs over and above the inspection.
func BenchmarkBegin(b *testing.B) {
	e := sharedEngine(b)
	p := &Profile{Paranoia: 2, AllowedMethods: []string{"GET", "POST", "PUT"}}
	b.ReportAllocs()
	for b.Loop() {
		e.Begin(p, "bench").Close()
	}
}
