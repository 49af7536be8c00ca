// Package depstest holds the import policy of Gatehouse and the habits of its
// source as tests: which package may import which, where each third-party
// module stays fenced in, how long a file and a function may be, how a metric is
// named. It has no code to call and nothing imports it; `go test
// ./internal/depstest` is the whole of it, and docs/architecture.md tells why
// the fences stand where they do.
//
// To add a rule, add a row with its reason to policy_test.go; the fixtures are
// made from the rows, so a row that catches nothing fails by itself.
package depstest
