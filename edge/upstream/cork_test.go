package upstream

import (
	"net"
	"syscall"
	"testing"
)

// cork holds small segments back (1) or lets them go (0).
func cork(t *testing.T, c net.Conn, on int) {
	rc, err := c.(*net.TCPConn).SyscallConn()
	if err == nil {
		cerr := rc.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_CORK, on)
		})
		if err == nil {
			err = cerr
		}
	}
	if err != nil {
		t.Errorf("cork: %v", err)
	}
}
