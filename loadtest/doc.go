// Package loadtest sends a bounded load to web servers and says how they answered:
// what `gatehouse loadtest` runs, and what the comparison with other proxies uses.
//
// A run is a Plan: targets with weights, a protocol, how connections and TLS
// sessions are used, how long it takes at most. There are two models.
//
//   - Closed: so many connections, each of which sends its next request when the
//     last one is answered. It tells what a server can do. Its latencies say little
//     of what visitors would see: while the server stalls, nothing is sent.
//   - Open: so many requests per second, planned ahead, whatever the server does.
//     Latency counts from the planned time, not from the sending, so a stall shows
//     in every request that it held up (coordinated omission is what one calls the
//     omission of that).
//
// A Plan is made of plain fields, and Run does the rest: it checks that the targets are
// on this machine or the caller's, tries one connection, sends the load and counts.
// Each client is a goroutine with a connection of its own; HTTP/1.1 and HTTP/2 are
// spoken by this package itself, since what a generator costs cannot be measured of
// the server. For HTTP/1.1 that is one write and one read a request, as few as there
// can be (line).
//
// The outcome is a Result: a histogram's percentiles, a series over time, errors by
// kind and targets. It prints as text or JSON, and package report draws it as one
// HTML file.
//
// The package knows nothing of Gatehouse: any server can be its target.
package loadtest
