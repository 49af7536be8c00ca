package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// maxSocketPath is what fits in a socket address of Linux (unix(7)).
const maxSocketPath = 107

// ListenSocket makes the unix socket at path, which only the user of this process
// may open (mode 0600). A socket that a killed process left behind is replaced;
// one that answers belongs to a running node and is an error. Closing the
// socket removes its file, unless Keep says otherwise.
func ListenSocket(path string) (*Socket, error) {
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
	return &Socket{UnixListener: l, path: path}, nil
}

// InheritSocket is ListenSocket for a socket that another process of this node has
// made at path, and listens on. Closing it leaves the file, which is the other's
// still, until Keep(false).
func InheritSocket(l *net.UnixListener, path string) *Socket {
	s := &Socket{UnixListener: l, path: path}
	s.Keep(true)
	return s
}

// A Socket is the listener of the private API. It is safe for concurrent use.
type Socket struct {
	*net.UnixListener
	path string
	kept atomic.Bool
	once sync.Once // after the first Close the file may be another node's
}

// Keep says whether Close leaves the file in place, since another process listens
// on the same socket.
func (s *Socket) Keep(keep bool) { s.kept.Store(keep) }

// Path is where the socket is found.
func (s *Socket) Path() string { return s.path }

// Close stops listening and removes the file, once.
func (s *Socket) Close() error {
	err := s.UnixListener.Close()
	s.once.Do(func() {
		if s.kept.Load() {
			return
		}
		if gone := os.Remove(s.path); !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	})
	return err
}
