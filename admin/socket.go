package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"
)

// maxSocketPath is what fits in a socket address of Linux (unix(7)).
const maxSocketPath = 107

// ListenSocket makes the unix socket at path, which only the user of this process
// may open (mode 0600). A socket that a killed process left behind is replaced;
// one that answers belongs to a running node and is an error. Closing the
// listener removes the socket.
func ListenSocket(path string) (net.Listener, error) {
	fresh := path + ".new"
	if len(fresh) > maxSocketPath {
		return nil, fmt.Errorf("listen on %s: the path of a socket takes at most %d bytes: name a shorter data folder", path, maxSocketPath-len(".new"))
	}
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: another gatehouse serves from this data folder", path), conn.Close())
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("listen on %s: there is a file of this name that is no socket", path)
	}
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	// Made under another name and moved once its mode is right, so that nobody
	// can open it in between.
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fresh, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(fresh, 0o600), os.Rename(fresh, path)); err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", path, err), l.Close(), os.Remove(fresh))
	}
	s := &socket{UnixListener: l}
	s.remove = sync.OnceValue(func() error {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
	return s, nil
}

// socket removes its file when it is closed: once, because after that the file
// may be another node's.
type socket struct {
	*net.UnixListener
	remove func() error
}

// Close stops listening and removes the socket.
func (s *socket) Close() error { return errors.Join(s.UnixListener.Close(), s.remove()) }
