package cache

import (
	"testing"
	"time"
)

func TestCacheStatusRFC9211(t *testing.T) {
	miss := Lookup{Forward: ForwardURIMiss}
	for _, tt := range []struct {
		lookup  Lookup
		outcome Outcome
		want    string
	}{
		{Lookup{Entry: &Entry{}, TTL: 57*time.Second + 999*time.Millisecond}, Outcome{}, "gatehouse; hit; ttl=57"},
		{Lookup{Entry: &Entry{}, TTL: 5}, Outcome{Detail: "x", Stored: true}, "gatehouse; hit; ttl=0"},
		{miss, Outcome{Stored: true}, "gatehouse; fwd=uri-miss; stored"},
		{miss, Outcome{Detail: "set-cookie"}, "gatehouse; fwd=uri-miss; detail=set-cookie"},
		{miss, Outcome{}, "gatehouse; fwd=uri-miss"},
		{miss, Outcome{Status: 200, Stored: true}, "gatehouse; fwd=uri-miss; fwd-status=200; stored"},
		{Lookup{Forward: ForwardBypass, Detail: "range"}, Outcome{}, "gatehouse; fwd=bypass; detail=range"},
		{Lookup{Forward: ForwardRequest, Detail: "authorization"}, Outcome{Stored: true}, "gatehouse; fwd=request; stored"},
		{Lookup{Forward: ForwardURIMiss, OnlyIfCached: true}, Outcome{}, "gatehouse; detail=only-if-cached"},
		{miss, Outcome{Detail: "two words"}, `gatehouse; fwd=uri-miss; detail="two words"`},
		{miss, Outcome{Detail: "a\"b\\c\r\nX: 1é"}, `gatehouse; fwd=uri-miss; detail="a\"b\\cX: 1"`},
		{miss, Outcome{Detail: "5xx"}, `gatehouse; fwd=uri-miss; detail="5xx"`},
	} {
		if got := string(FormatStatus([]byte("|"), &tt.lookup, tt.outcome)); got != "|"+tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}
