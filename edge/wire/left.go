package wire

import (
	"net"

	"golang.org/x/sys/unix"
)

// States of a TCP connection whose peer has closed it or its half (tcp(7),
// linux/include/net/tcp_states.h).
const (
	tcpClose     = 7
	tcpCloseWait = 8
	tcpLastAck   = 9
)

// Left reports whether the client has closed the connection, or its half of it.
// It asks the kernel and reads nothing, so it can be called at any time. Where
// the system cannot tell, the client counts as still there.
func (c *Conn) Left() bool {
	tcp, ok := c.raw.(*net.TCPConn)
	if !ok {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return true // closed at our end
	}
	left := false
	err = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		left = err == nil && (info.State == tcpClose || info.State == tcpCloseWait || info.State == tcpLastAck)
	})
	return left || err != nil
}
