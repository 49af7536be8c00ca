package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// The phases of a round trip, as Error.Op names them.
const (
	OpConnect  = "connect"  // resolving, dialling or the TLS handshake
	OpWrite    = "write"    // checking or writing the request
	OpHead     = "head"     // waiting for the head of the answer
	OpBody     = "body"     // from RoundTrip: reading the caller's Request.Body; from Response.Body: the backend's body
	OpProtocol = "protocol" // the backend's answer is not acceptable HTTP/1.1
)

// ErrBadRequest is wrapped by the *Error (Op write, nothing sent) that refuses a Request which
// could not be written as exactly one HTTP/1.1 message.
var ErrBadRequest = errors.New("request cannot be sent")

// Error is the error of every failed round trip, and of a body that failed for another reason
// than being cut short (that is io.ErrUnexpectedEOF).
type Error struct {
	Op      string // one of the Op constants
	Err     error  // the cause; the context's error when the context ended the round trip
	Sent    bool   // any byte of the request may have reached the backend: a repetition may act twice
	Timeout bool   // a time limit was hit, ours or the context's

	// Repeatable says that the caller may send the request once more, on a Request with Fresh set: no
	// byte of an answer has come, and either no connection came about, or it failed for another
	// reason than a time limit while nothing had been sent or the method is safe (RFC 9110 §9.2.1)
	// and its body, if any, small. It is for the caller to have the body once more, and to see to it
	// that repetitions do not become a load of their own (Budget).
	Repeatable bool
	// Refused says that no connection came about, and that nothing was waited for: there was nobody to have the load of it.
	Refused bool
	// Stale says that the connection was a kept one: its end tells nothing of the backend, and the
	// repetition may go to the same.
	Stale bool
}

// Error gives the phase and the cause.
func (e *Error) Error() string { return "backend " + e.Op + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// malformed is an answer that breaks a rule; the text names the rule.
type malformed string

func (m malformed) Error() string { return string(m) }

// newError files err under op, or under protocol when the backend broke a rule.
func newError(op string, err error, sent bool) *Error {
	var rule malformed
	if errors.As(err, &rule) {
		op = OpProtocol
	}
	return &Error{Op: op, Err: err, Sent: sent, Timeout: isTimeout(err)}
}

func isTimeout(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// isRefusal reports whether dialling, or looking up a name, ended without a connection, nor a time limit. A TLS handshake is none: that is
// work for the backend.
func isRefusal(err error) bool {
	if isTimeout(err) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return false
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return true
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// A PanicError is a panic while a request's body was read.
type PanicError struct {
	Value any
	Stack []byte // as debug.Stack has it
}

// Error implements error.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }
