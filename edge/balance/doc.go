// Package balance chooses one backend of several, and remembers how each has answered.
//
// It knows nothing of what a backend is (the type is a parameter), opens no connection and starts no
// goroutine. What is known of a backend is a State, which outlives pools: whoever makes pools keeps one
// State for each backend and gives it to every pool that has the backend, so that a change of settings
// forgets nothing, and what one vhost learns another one knows. A State holds
//
//   - how many requests are in flight,
//   - whether failures have ejected it (passive health),
//   - whether an administrator drains it.
//
// What active checks find is a Check, since two vhosts may check the same backend in two ways.
//
// To start, make a Pool and bracket each attempt:
//
//	pool := balance.New(balance.P2C, []balance.Spec[Backend]{{Backend: b, State: balance.NewState(), Name: "http://10.0.0.1"}})
//	var failed []*balance.Member[Backend]
//	for {
//		a, ok := pool.Pick(hash, failed)
//		if !ok { … }              // none left
//		err := send(a.Member().Backend)
//		a.Report(outcomeOf(err))  // as soon as it is known
//		…                         // the answer's body
//		a.Done()                  // nothing is in flight any more
//		if err == nil || !mayRepeat(err) { break }
//		failed = append(failed, a.Member())
//	}
package balance
