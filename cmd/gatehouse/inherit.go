package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// What a process is given when it starts: sockets of the service manager
// (sd_listen_fds(3)), or those of the process that it succeeds.
const (
	// handoverVar holds an offer. Descriptors from 3 on are the offer's sockets in
	// its order, then the pipes of a predecessor. LISTEN_FDS would not do:
	// LISTEN_PID cannot be known before the new process exists.
	handoverVar = "GATEHOUSE_HANDOVER"

	firstDescriptor = 3
	mostDescriptors = 64
)

// inheritVars are taken out of the environment, so that no child believes them.
var inheritVars = []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", handoverVar}

// An offer is what a process says to its successor.
type offer struct {
	Protocol int             `json:"protocol"` // offerProtocol
	Sockets  []offeredSocket `json:"sockets"`
	Private  string          `json:"private"` // absolute path of the private API's socket
	Routes   bool            `json:"routes"`  // there is a table: a successor without one is refused
	// Cache: a fourth pipe brings the cache's snapshot. An older successor does not know it, and an older process has none.
	Cache bool `json:"cache,omitempty"`
}

// offerProtocol changes when an older process could not hand over to a newer one.
const offerProtocol = 1

type offeredSocket struct {
	Name string `json:"name"`
	// Fixed: the service manager named it; the settings' address does not matter.
	Fixed bool `json:"fixed,omitempty"`
}

// An inheritance is the sockets that a process was given and has not taken yet.
// Its zero value is none.
type inheritance struct {
	sockets     []*inheritedSocket
	predecessor *predecessor // nil: the sockets are the service manager's
}

type inheritedSocket struct {
	offeredSocket
	fd int
	ln net.Listener
}

func (s *inheritedSocket) String() string {
	return fmt.Sprintf("descriptor %d (%q, %s)", s.fd, s.Name, s.ln.Addr())
}

// inherit takes what environ speaks of. The variables are out of the process'
// environment after it.
func inherit(environ []string) (*inheritance, error) {
	vars := map[string]string{}
	for _, name := range inheritVars {
		for _, entry := range environ {
			if value, ok := strings.CutPrefix(entry, name+"="); ok {
				vars[name] = value
			}
		}
		if err := os.Unsetenv(name); err != nil {
			return nil, err
		}
	}
	switch {
	case vars[handoverVar] != "":
		return inheritOffer(vars[handoverVar])
	case vars["LISTEN_FDS"] != "" && vars["LISTEN_PID"] == strconv.Itoa(os.Getpid()):
		names, err := activatedNames(vars["LISTEN_FDS"], vars["LISTEN_FDNAMES"])
		if err != nil {
			return nil, err
		}
		in := &inheritance{}
		return in, in.open(names)
	}
	return &inheritance{}, nil
}

// withoutInheritance is environ without the variables that inherit has taken.
func withoutInheritance(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(inheritVars, name)
	})
}

// activatedNames reads LISTEN_FDS and LISTEN_FDNAMES.
func activatedNames(count, names string) ([]offeredSocket, error) {
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > mostDescriptors {
		return nil, fmt.Errorf("socket activation: LISTEN_FDS=%q: want a number up to %d", count, mostDescriptors)
	}
	out := make([]offeredSocket, n)
	if names == "" {
		return out, nil
	}
	list := strings.Split(names, ":")
	if len(list) != n {
		return nil, fmt.Errorf("socket activation: LISTEN_FDNAMES has %d names for %d descriptors", len(list), n)
	}
	for i, name := range list {
		out[i] = offeredSocket{Name: name, Fixed: name == "http" || name == "https" || name == "admin"}
	}
	return out, nil
}

func inheritOffer(text string) (*inheritance, error) {
	var o offer
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return nil, fmt.Errorf("hand-over: %s: %w", handoverVar, err)
	}
	if o.Protocol != offerProtocol || len(o.Sockets) > mostDescriptors {
		return nil, fmt.Errorf("hand-over: the running process speaks protocol %d, this binary %d: stop the one and start the other", o.Protocol, offerProtocol)
	}
	in := &inheritance{}
	if err := in.open(o.Sockets); err != nil {
		return nil, err
	}
	var err error
	in.predecessor, err = newPredecessor(o, firstDescriptor+len(o.Sockets))
	return in, err
}

func (in *inheritance) open(sockets []offeredSocket) error {
	for i, s := range sockets {
		fd := firstDescriptor + i
		f := os.NewFile(uintptr(fd), s.Name)
		if f == nil {
			return fmt.Errorf("descriptor %d (%q) is not there", fd, s.Name)
		}
		// It duplicates the descriptor, and leaves one that does not block as it
		// is: the flag belongs to the socket, which another process accepts from.
		ln, err := net.FileListener(f)
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("descriptor %d (%q) is no listening socket: %w", fd, s.Name, err)
		}
		in.sockets = append(in.sockets, &inheritedSocket{offeredSocket: s, fd: fd, ln: ln})
	}
	return nil
}

// take returns the socket for the setting listen.NAME, or nil.
func (in *inheritance) take(name, address string) (ln net.Listener, fixed bool, err error) {
	if in == nil {
		return nil, false, nil
	}
	best := -1
	for i, s := range in.sockets {
		if s.Fixed {
			if s.Name == name {
				best = i
				break
			}
			continue
		}
		fits, err := matches(s, name, address)
		if err != nil {
			return nil, false, err
		}
		if fits && (best < 0 || s.Name == name) {
			best = i
		}
	}
	if best < 0 {
		return nil, false, nil
	}
	s := in.sockets[best]
	in.sockets = slices.Delete(in.sockets, best, best+1)
	return s.ln, s.Fixed, nil
}

// matches compares a bound address with a setting. A host that is empty or
// unspecified means all addresses, as for net.Listen; a name means the address
// that net.Listen would take; port 0 means the port that the listener of that
// setting has.
func matches(s *inheritedSocket, name, address string) (bool, error) {
	bound, ok := s.ln.Addr().(*net.TCPAddr)
	if !ok {
		return false, nil
	}
	want, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return false, fmt.Errorf("listen.%s: %w", name, err)
	}
	if want.Port != bound.Port && (want.Port != 0 || s.Name != name) {
		return false, nil
	}
	if want.IP == nil || want.IP.IsUnspecified() {
		return bound.IP.IsUnspecified(), nil
	}
	return want.IP.Equal(bound.IP) && want.Zone == bound.Zone, nil
}

// takePrivate returns the socket of the private API if it belongs to path, or nil.
func (in *inheritance) takePrivate(path string) *net.UnixListener {
	if in == nil || in.predecessor == nil || in.predecessor.offer.Private != path {
		return nil
	}
	for i, s := range in.sockets {
		if ln, ok := s.ln.(*net.UnixListener); ok && s.Name == privateName {
			in.sockets = slices.Delete(in.sockets, i, i+1)
			return ln
		}
	}
	return nil
}

// settle closes what nobody took: after a hand-over new settings do not want it
// any more; from the service manager it is a mistake, and an error that names it.
func (in *inheritance) settle() error {
	if in == nil {
		return nil
	}
	var errs []error
	for _, s := range in.sockets {
		if in.predecessor == nil {
			errs = append(errs, fmt.Errorf("socket activation: %s fits neither listen.http, listen.https nor listen.admin", s))
		}
		errs = append(errs, s.ln.Close())
	}
	in.sockets = nil
	return errors.Join(errs...)
}

// privateName is the name of the private API's socket in an offer.
const privateName = "socket"

// pipeEnd is an inherited end of a pipe, which no child of ours gets.
func pipeEnd(fd int, name string) (*os.File, error) {
	if err := syscall.SetNonblock(fd, true); err != nil { // or a read could not be ended
		return nil, fmt.Errorf("hand-over: descriptor %d (%s): %w", fd, name, err)
	}
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), name), nil
}
