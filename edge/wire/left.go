package wire

import "golang.org/x/sys/unix"

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
func (s *socket) Left() bool {
	if s.tcp == nil {
		return false
	}
	info, open := s.tcpInfo()
	if !open {
		return true // closed at our end
	}
	return info != nil && (info.State == tcpClose || info.State == tcpCloseWait || info.State == tcpLastAck)
}

// unread reports whether the kernel holds bytes of the peer that nobody has read.
func (s *socket) unread() bool {
	if s.tcp == nil {
		return false
	}
	raw, err := s.tcp.SyscallConn()
	if err != nil {
		return false
	}
	pending := 0
	err = raw.Control(func(fd uintptr) { pending, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }) // 0 where it does not tell
	return err == nil && pending > 0
}

// bytesAcked is how much the peer has acknowledged; 0 if the system does not tell.
func (s *socket) bytesAcked() uint64 {
	if s.tcp == nil {
		return 0
	}
	if info, _ := s.tcpInfo(); info != nil {
		return info.Bytes_acked
	}
	return 0
}

// tcpInfo asks the kernel: nil where it does not tell, and whether the connection
// is open at our end.
func (s *socket) tcpInfo() (info *unix.TCPInfo, open bool) {
	raw, err := s.tcp.SyscallConn()
	if err != nil {
		return nil, false
	}
	var asked error
	err = raw.Control(func(fd uintptr) {
		info, asked = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	})
	if asked != nil {
		info = nil
	}
	return info, err == nil
}
