package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// statuses are the values of --expect: each use of it adds to them.
type statuses []int

// Set adds what stands in a list by commas; nothing of it if one is wrong.
func (s *statuses) Set(text string) error {
	var ranges []statusRange
	for item := range strings.SplitSeq(text, ",") {
		var r statusRange
		if err := r.UnmarshalText([]byte(item)); err != nil {
			return err
		}
		ranges = append(ranges, r)
	}
	*s = append(*s, statusesOf(ranges)...)
	return nil
}

// Type is what kind of value it is, for whoever writes about flags.
func (*statuses) Type() string { return "statuses" }

func (s *statuses) String() string {
	if len(*s) == 0 {
		return ""
	}
	return strings.Trim(fmt.Sprint([]int(*s)), "[]")
}

// A statusRange is one entry of `expect`: 404, 200-299 or 2xx. Both ends are in it.
type statusRange struct{ from, to int }

var statusText = regexp.MustCompile(`^(?:([1-5])[xX]{2}|([1-5]\d\d)(?:-([1-5]\d\d))?)$`)

// UnmarshalText reads it.
func (r *statusRange) UnmarshalText(text []byte) error {
	item := strings.TrimSpace(string(text))
	m := statusText.FindStringSubmatch(item)
	if m == nil {
		return fmt.Errorf("want a status from 100 to 599, a range (200-299) or a class (2xx), not %q", item)
	}
	if m[1] != "" {
		m[2], m[3] = m[1]+"00", m[1]+"99"
	}
	r.from, _ = strconv.Atoi(m[2]) // three digits
	r.to = r.from
	if m[3] != "" {
		r.to, _ = strconv.Atoi(m[3]) // three digits
	}
	if r.to < r.from {
		return fmt.Errorf("a range goes upwards: %d-%d, not %s", r.to, r.from, item)
	}
	return nil
}

// statusesOf writes ranges out.
func statusesOf(ranges []statusRange) []int {
	var out []int
	for _, r := range ranges {
		for status := r.from; status <= r.to; status++ {
			out = append(out, status)
		}
	}
	return out
}
