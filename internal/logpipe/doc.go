// Package logpipe stands between those who log and a writer that may stall or
// fail: a pipe that nobody reads, a disk that is full. Lines wait in memory, one
// goroutine writes them, and what finds no room is lost and counted: a log is
// never worth a request.
//
// It is not for data that must not be lost, and it knows nothing of what a line
// says. Start with New.
package logpipe
