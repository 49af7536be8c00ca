// Package balance chooses one backend of several.
//
// It knows nothing of what a backend is (the type is a parameter), opens no connection and starts
// no goroutine. It counts what is in flight and remembers for a short while which backend could not
// be reached; active health checks, weights, draining and hashing are not its business.
//
// To start, make a Pool and bracket each attempt:
//
//	pool := balance.New(balance.P2C, backends)
//	var tried []*balance.Member[Backend]
//	for {
//		m, ok := pool.Pick(tried)
//		if !ok { … }              // none left
//		m.Begin()
//		err := send(m.Backend)
//		m.Done(couldNotConnect(err))
//		if err == nil || !mayRepeat(err) { break }
//		tried = append(tried, m)
//	}
package balance
