package wire

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// unsent is how many bytes the kernel takes for a peer that does not take them.
const unsent = 64 << 10

// LimitUnsent has writes to a TCP connection wait once 64 KiB are held for it
// beyond what is on its way. Otherwise the kernel takes megabytes for a slow
// reader, and whoever sends to us is not made to wait. It costs no throughput:
// what is under way is not counted. Where the system does not know the option,
// nothing changes.
func LimitUnsent(conn net.Conn) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	// Best effort by contract: an error leaves the system's default in force.
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent)
	})
}
