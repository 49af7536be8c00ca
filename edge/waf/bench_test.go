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

// BenchmarkTuning is the same for nothing, for a typical tenant, for one whose exclusions depend on
// the path, and for a tag that stands for hundreds of rules.
func BenchmarkTuning(b *testing.B) {
	e := sharedEngine(b)
	scopedToPaths := typical(1)
	for i := range scopedToPaths.Exclusions.list {
		scopedToPaths.Exclusions.list[i].Paths = []string{"/upload", "/api/*/edit"}
	}
	hundred := typical(1)
	for i := range int32(100) {
		hundred.Exclusions.list = append(hundred.Exclusions.list, Exclusion{Rules: one(942100 + i), Target: fmt.Sprintf("ARGS:field%d", i), Paths: []string{fmt.Sprintf("/form%d/*", i)}})
	}
	for _, c := range []struct {
		name string
		p    *Profile
	}{
		{"none", &Profile{}},
		{"typical", typical(1)},
		{"paths", scopedToPaths},
		{"hundred", hundred},
		{"tag", &Profile{Exclusions: NewExclusions([]Exclusion{{Tags: []string{"OWASP_CRS"}, Target: "ARGS:password"}})}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tx := e.Begin(c.p, "bench")
				tx.Request("POST", "/api/7/edit?q=1", "HTTP/1.1", "shop.test")
				tx.Close()
			}
		})
	}
}

// BenchmarkExcluded is a whole inspection of a usual request with a typical tenant's tuning.
func BenchmarkExcluded(b *testing.B) {
	e := sharedEngine(b)
	for _, c := range []struct {
		name string
		p    *Profile
	}{{"none", &Profile{Mode: Block, Paranoia: 2}}, {"typical", typical(1)}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				inspect(e, c.p, usualGET())
			}
		})
	}
}
