package routes

import "fmt"

// mostConcurrency is beyond what one node can have under way: descriptors end before.
const mostConcurrency = 1_000_000

// checkConcurrency refuses what is no number of requests at a time; 0: it was left out.
func checkConcurrency(field string, n int) []finding {
	if n >= 0 && n <= mostConcurrency {
		return nil
	}
	return []finding{{field: field, reason: fmt.Sprintf("bad number %d: want 1 to %d requests at a time", n, mostConcurrency)}}
}
