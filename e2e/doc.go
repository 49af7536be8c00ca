// Package e2e holds the black-box tests: they build the binary, start it and
// speak to it as users do, with curl's and openssl's and redis-cli's means. They
// import nothing of Gatehouse but the test kit.
//
// `go test -short` skips them.
package e2e
