package main

import (
	"fmt"
	"slices"
	"strings"
)

// A named thing can be chosen on the command line.
type named interface{ id() string }

func nameList[T named](all []T) string {
	var names []string
	for _, x := range all {
		names = append(names, x.id())
	}
	return strings.Join(names, ",")
}

// isAmong reports whether x is one of all.
func isAmong[T named](all []T, x T) bool {
	return slices.ContainsFunc(all, func(y T) bool { return y.id() == x.id() })
}

// choose returns those of all that a list of names says, in the order of all; an
// empty list means all.
func choose[T named](all []T, list string) ([]T, error) {
	if list == "" {
		return all, nil
	}
	names := strings.Split(list, ",")
	var out []T
	for _, x := range all {
		if slices.Contains(names, x.id()) {
			out = append(out, x)
			names = slices.DeleteFunc(names, func(n string) bool { return n == x.id() })
		}
	}
	if len(names) > 0 {
		return nil, fmt.Errorf("no %q; there are %s", strings.Join(names, ","), nameList(all))
	}
	return out, nil
}
