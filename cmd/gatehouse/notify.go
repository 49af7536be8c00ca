package main

import (
	"errors"
	"fmt"
	"net"
	"os"
)

// notifyVar names the socket of the service manager (sd_notify(3)).
const notifyVar = "NOTIFY_SOCKET"

// notify tells the service manager a new state, such as "READY=1". Without one
// it does nothing.
func notify(state string) error {
	path := os.Getenv(notifyVar)
	if path == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"}) // a leading @ is the abstract namespace
	if err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	_, err = conn.Write([]byte(state))
	if err = errors.Join(err, conn.Close()); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	return nil
}

// notify is for a node that goes on without the service manager's knowledge.
func (n *node) notify(state string) {
	if n.in == nil {
		return // the demo is no service
	}
	if err := notify(state); err != nil {
		n.log.Warn("service manager not told", "state", state, "err", err)
	}
}
