//go:build unix

package loadtest

import "golang.org/x/sys/unix"

// sendNow writes without waiting.
func sendNow(fd uintptr, p []byte) (int, error) {
	for {
		n, err := unix.Write(int(fd), p)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// receiveNow reads without waiting.
func receiveNow(fd uintptr, p []byte) (int, error) {
	for {
		n, err := unix.Read(int(fd), p)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// lullOf says whether a read would have to wait, or what it would bring.
func lullOf(fd uintptr) lull {
	var one [1]byte
	n, _, err := unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	switch {
	case err == unix.EAGAIN:
		return quiet
	case n > 0:
		return unasked
	}
	return ended
}
