package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"gatehouse/admin"
	"gatehouse/edge/wire"
)

// openListeners takes all addresses, or none: inherited sockets where they fit the
// settings, else new ones. No inherited socket is closed and opened again.
func (n *node) openListeners() error {
	n.fixed = map[string]bool{}
	for _, l := range []struct {
		name, address string
		into          *net.Listener
	}{
		{"http", n.cfg.Listen.HTTP, &n.http},
		{"https", n.cfg.Listen.HTTPS, &n.https},
		{"admin", n.cfg.Listen.Admin, &n.admin},
	} {
		if l.address == "" {
			continue
		}
		ln, fixed, err := n.in.take(l.name, l.address)
		if err != nil {
			return err
		}
		if ln == nil {
			if ln, err = wire.Listen(l.address); err != nil {
				return listenError("listen."+l.name, l.address, err)
			}
		}
		*l.into, n.fixed[l.name] = ln, fixed
		n.onClose(func() error { return closed(ln.Close()) })
	}
	return nil
}

// listenError says what to do about the two usual reasons.
func listenError(setting, address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s: %s is in use by another program: stop it, or choose another address", setting, address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s: no permission to listen on %s: ports below 1024 need root or CAP_NET_BIND_SERVICE", setting, address)
	}
	return fmt.Errorf("%s: %w", setting, err)
}

// openData makes the data folder and the private API's socket in it, or takes the
// one of the process before over. After it no inherited socket is left.
func (n *node) openData() error {
	if err := os.MkdirAll(n.cfg.Data, 0o700); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	path, err := filepath.Abs(n.cfg.Socket())
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	if ln := n.in.takePrivate(path); ln != nil {
		n.socket = admin.InheritSocket(ln, n.cfg.Socket())
		n.in.predecessor.privateIsKept = true
	} else if n.socket, err = admin.ListenSocket(n.cfg.Socket()); err != nil {
		return err
	}
	n.onClose(func() error { return closed(n.socket.Close()) })
	return n.in.settle()
}
