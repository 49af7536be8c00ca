// Package waf is the web application firewall: it runs requests and responses through Coraza with
// the OWASP Core Rule Set, tuned for each tenant.
//
// One compiled rule set serves every tenant, since a compiled CRS takes some 20 MB and half a
// second, and a tenant's tuning half a kilobyte and a microsecond. The life of a transaction:
//
//  1. [New] compiles the rule set, once per process.
//  2. [Engine.Begin] starts a transaction and gives it the tenant's [Profile]: mode, paranoia
//     level, thresholds, methods.
//  3. Connection, Request, RequestHeader and RequestLength say what came; [Transaction.RequestHeaders]
//     is phase 1.
//  4. While [Transaction.WantsBody], the body is handed over with WriteRequestBody.
//     [Transaction.RequestBody] is phase 2, also for a request without a body: only here does the
//     anomaly score become a verdict.
//  5. With [Profile.Responses], ResponseHeader and [Transaction.ResponseHeaders] are phase 3,
//     WriteResponseBody and [Transaction.ResponseBody] phase 4.
//  6. Matches, Score and WouldBlock are for the log; [Transaction.Close], exactly once, ends it.
//
// With [Profile.Own], the rules that a tenant wrote himself see phases 1 and 2 before the shared ones do; see
// [CompileOwn].
//
// Before the shared rules stands a gate (see [Options], and package gate), which names those that a request can match: in phase 2
// it is asked about the whole request, and where it names none, none runs. Verdict, matches and score are those of all rules.
//
// A nil [Verdict] means: go on. Phase 5 (logging) is not run, since its only rules write a log that
// nobody reads here.
//
// It is not an HTTP server, knows no tenants, writes no log line per request and enforces no size
// limit but the one that [Profile.OnOversize] asks for: it inspects at most [Profile.InspectBody] bytes and leaves the
// rest alone. It decides nothing about what happens on its own failure either; see [Transaction.Err].
//
// The build tag coraza.no_memoize is required, and [New] refuses to start without it: Coraza's cache
// of compiled patterns mixes types and tenants.
package waf
