// Package edgetest holds the real parts that tests of Gatehouse speak to: a
// throw-away certificate authority (CA), HTTP backends with faults on demand
// (Backend), a client that sends raw bytes (RawConn), a redis-server process and
// an ACME server process.
//
// It is imported by tests only, and its helpers end the test they are given when
// something of their own goes wrong. It is not a mock library: everything here
// listens, dials and signs for real, on loopback and free ports, and is gone
// when the test ends.
//
// Start with
//
//	backend := edgetest.NewBackend(t)
//	ca := edgetest.NewCA(t)
//	conn := edgetest.DialTLS(t, addr, "www.shop.test", ca.Pool())
package edgetest
