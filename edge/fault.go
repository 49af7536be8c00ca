package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"gatehouse/cache"
	"gatehouse/edge/upstream"
	"gatehouse/edge/wire"
)

// A clientFault is why a client did not get a whole answer, where it is the
// client's doing.
type clientFault string

// Error implements error.
func (f clientFault) Error() string { return string(f) }

const clientLeft = clientFault("client left")

// byClient reports whether the client is to blame for an answer that was cut.
func byClient(err error) bool {
	_, ok := errors.AsType[clientFault](err)
	return ok
}

// cut notes that not all of the response goes out. The first cause is the cause:
// what comes after it follows from it.
func (r *request) cut(cause error) {
	if !r.response.cut {
		r.response.cut, r.record.Err = true, cause
	}
}

// clientCut is why the client did not take the whole answer; err is that of a
// write, or nil if it is not known: then the HTTP library has kept it.
func clientCut(err error) error {
	switch {
	case err == nil:
		return clientFault("client left, or took too little of the answer")
	case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		return clientLeft
	case errors.Is(err, net.ErrClosed):
		return clientFault("connection closed before the client had the whole answer")
	}
	return clientFault(err.Error())
}

// bodyCut is why the backend's body could not be read to its end.
func bodyCut(err error) error {
	if errors.Is(err, context.Canceled) { // see waiters
		return clientLeft
	}
	if errors.Is(err, cache.ErrSlow) {
		return clientFault(err.Error())
	}
	if _, ok := errors.AsType[*upstream.Error](err); ok {
		return err // which says "backend body"
	}
	return fmt.Errorf("backend body: %w", err)
}

// errorBytes is the most that an access line holds of an error.
const errorBytes = 256

// errorText is what an access line says of an error: what the visitor was told and
// the cause, which he was not. The status stands elsewhere in the line.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	if e, ok := errors.AsType[*httpError](err); ok {
		text = e.reason
		if e.cause != nil {
			text += ": " + e.cause.Error()
		}
	}
	if r, ok := errors.AsType[*wire.Refusal](err); ok {
		text = r.Reason
	}
	if errors.Is(err, context.Canceled) {
		text = string(clientLeft)
	}
	if len(text) > errorBytes {
		text = strings.ToValidUTF8(text[:errorBytes], "")
	}
	return text
}
