package gate

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// What a value costs that is as most are.
func BenchmarkTransform(b *testing.B) {
	values := []struct{ name, text string }{
		{"value", "5f2b-41ad_user.name-lowercase-and-digits"},
		{"text", strings.Repeat("It is a truth universally acknowledged, that a man (in want of a wife) / 100% & more. ", 24)},
	}
	for _, name := range slices.Sorted(maps.Keys(transforms)) {
		for _, v := range values {
			b.Run(name+"/"+v.name, func(b *testing.B) {
				b.ReportAllocs()
				apply := transforms[name].apply
				for b.Loop() {
					apply(v.text)
				}
			})
		}
	}
	for _, v := range values {
		b.Run("bytesOf/"+v.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if set := bytesOf(v.text); set.has(0) {
					b.Fatal("a NUL")
				}
			}
		})
	}
}
