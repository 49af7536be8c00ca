package main

import (
	"errors"
	"fmt"
	"io"

	"gatehouse/loadtest"
)

// writeLoadText prints the result for people.
func writeLoadText(w io.Writer, r *loadtest.Result) error {
	_, err := fmt.Fprintf(w, "%d requests in %.1f s: %.0f/s, p50 %s, p99 %s, max %s, errors %v, statuses %v\n",
		r.Requests, r.Seconds, r.Rate, microText(r.Latency.P50), microText(r.Latency.P99), microText(r.Latency.Max), r.Errors, r.Statuses)
	return err
}

// writeLoadPage writes the result as one HTML file.
func writeLoadPage(string, *loadtest.Result) error { return errors.ErrUnsupported }
