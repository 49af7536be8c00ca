package wire

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel asks a silent peer this often whether it is still there, and gives it up
// after so many questions: what package net does by default.
const (
	keepAliveEvery  = 15 * time.Second
	keepAliveProbes = 9
)

// Listen listens on a TCP address, host:port. On Linux, accepted connections inherit
// what is set on the listening socket (tcp(7)), so keep-alive is set there, once: it is
// four system calls for each connection otherwise, a tenth of what a TLS handshake
// costs the kernel. (The limit of LimitUnsent is not inherited.)
func Listen(address string) (net.Listener, error) {
	config := net.ListenConfig{
		KeepAlive: -1,
		Control: func(_, _ string, raw syscall.RawConn) error {
			var set error
			err := raw.Control(func(fd uintptr) { set = setKeepAlive(int(fd)) })
			return errors.Join(err, set)
		},
	}
	return config.Listen(context.Background(), "tcp", address)
}

func setKeepAlive(fd int) error {
	return errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepAliveEvery/time.Second)),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(keepAliveEvery/time.Second)),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveProbes),
	)
}
