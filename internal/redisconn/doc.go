// Package redisconn is the one way to Redis: it reads the URL of the settings,
// opens the client that all adapters share, and dials the single connections
// that receive invalidations.
//
// Start with Parse and Open. The Client is a go-redis client with bounded calls:
// a hung server costs a caller at most CallTimeout, never the five seconds of
// go-redis' defaults; Client.Patient is for calls that a person waits for. Client.Dial opens a Conn, a RESP3 connection of its own
// that one goroutine reads; routes are followed with it, since what is read on a
// connection and what is invalidated on it are then in order.
//
// Lease and Release are the leases by which one node of all does something.
//
// The package knows no key and no document. Keys begin with Options.Prefix
// where an adapter says so.
package redisconn
