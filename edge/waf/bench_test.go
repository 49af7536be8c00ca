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

// A usual request of each kind.
func usualGET() sample {
	return sample{
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
	}
}

func usualForm() sample {
	var fields []string
	for i := range 10 {
		fields = append(fields, fmt.Sprintf("field%d=some+text+number+%d", i, i))
	}
	return sample{contentType: form, body: strings.Join(fields, "&")}
}

func usualJSON() sample {
	var items []string
	for i := range 30 {
		items = append(items, fmt.Sprintf(`{"id":%d,"name":"article number %d","price":%d.50}`, i, i, i))
	}
	return sample{contentType: "application/json", body: `{"items":[` + strings.Join(items, ",") + `]}`}
}

func BenchmarkGET(b *testing.B)  { benchmark(b, usualGET()) }
func BenchmarkFORM(b *testing.B) { benchmark(b, usualForm()) }
func BenchmarkJSON(b *testing.B) { benchmark(b, usualJSON()) }

// BenchmarkBegin is what a tenant's tuning costs over and above the inspection.
func BenchmarkBegin(b *testing.B) {
	e := sharedEngine(b)
	p := &Profile{Paranoia: 2, AllowedMethods: []string{"GET", "POST", "PUT"}}
	b.ReportAllocs()
	for b.Loop() {
		e.Begin(p, "bench").Close()
	}
}
