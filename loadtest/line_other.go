//go:build !unix

package loadtest

import "errors"

// Elsewhere what is held back goes out the slow way, and a connection that the
// server has ended is found when it is used.

func sendNow(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }

func receiveNow(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }

func lullOf(uintptr) lull { return quiet }
