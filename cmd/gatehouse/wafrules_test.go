package main

import (
	"strings"
	"testing"
)

func TestListCell(t *testing.T) {
	long := strings.Repeat("é", 60)
	for want, list := range map[string][]string{
		"":                               nil,
		"/a":                             {"/a"},
		"/a, /b":                         {"/a", "/b"},
		"/a +2":                          {"/a", "/b", "/c"},
		strings.Repeat("é", 47) + "…":    {long},
		strings.Repeat("é", 47) + "… +2": {long, long, "/c"},
	} {
		if got := listCell(list); got != want {
			t.Errorf("%q: got %q, want %q", list, got, want)
		}
	}
}
