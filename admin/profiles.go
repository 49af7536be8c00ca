package admin

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"time"
)

// profilesPath is where `go tool pprof` and people look for profiles.
const profilesPath = "/debug/pprof/"

const (
	// maxProfile is the longest time that one request may have recorded.
	maxProfile = 60 * time.Second
	// profileSlack is what a client has to take the profile, after that time.
	profileSlack = 30 * time.Second
	// maxSymbols bounds the addresses that may be asked for, in bytes.
	maxSymbols = 1 << 20

	// What is recorded of waits while they are asked for: one on average in so many
	// nanoseconds of waiting, and one of so many waits for a mutex. All of them would
	// slow the node down.
	blockRate     = 10_000
	mutexFraction = 10
)

// A profile is one endpoint below profilesPath. The command line that net/http/pprof
// would show, too, is none of them: secrets may have been given as flags.
type profile struct {
	name, about string
	serve       http.HandlerFunc
	recorded    time.Duration // how long it is recorded if nobody says; 0: it is a state
	begin, end  func()        // turn the recording on and off; nil: it is always on
}

func (p *profile) onlyWhileAsked() bool { return p.begin != nil }

var profiles = []profile{
	// The times are net/http/pprof's own.
	{name: "profile", about: "where processor time goes", serve: pprof.Profile, recorded: 30 * time.Second},
	{name: "trace", about: "what each goroutine does when; for go tool trace", serve: pprof.Trace, recorded: time.Second},
	{name: "heap", about: "memory in use, by who allocated it", serve: pprof.Handler("heap").ServeHTTP},
	{name: "allocs", about: "all that was ever allocated", serve: pprof.Handler("allocs").ServeHTTP},
	{name: "goroutine", about: "stacks; ?debug=2 for reading", serve: pprof.Handler("goroutine").ServeHTTP},
	{name: "threadcreate", about: "how many threads of the system were made", serve: pprof.Handler("threadcreate").ServeHTTP},
	{
		name: "block", about: "where goroutines wait; needs ?seconds", serve: pprof.Handler("block").ServeHTTP,
		begin: func() { runtime.SetBlockProfileRate(blockRate) }, end: func() { runtime.SetBlockProfileRate(0) },
	},
	{
		name: "mutex", about: "who holds the mutexes that others wait for; needs ?seconds", serve: pprof.Handler("mutex").ServeHTTP,
		begin: func() { runtime.SetMutexProfileFraction(mutexFraction) }, end: func() { runtime.SetMutexProfileFraction(0) },
	},
}

// profiling is held by the one profile that is being taken in this process: they
// disturb each other, and the node. It is the process's and not an API's, as what the
// runtime records is.
var profiling sync.Mutex

// profiles adds the endpoints for profiles. They are net/http/pprof's handlers, called
// by name: what that package registers for itself is on a mux that nobody serves.
func (a *API) profiles(mux *http.ServeMux) {
	mux.Handle("GET "+profilesPath+"{$}", a.plainly(a.listProfiles))
	for i := range profiles {
		p := &profiles[i]
		mux.Handle("GET "+profilesPath+p.name, a.plainly(func(w http.ResponseWriter, r *http.Request) error { return a.takeProfile(p, w, r) }))
	}
	for _, method := range []string{"GET ", "POST "} { // go tool pprof asks by POST
		mux.Handle(method+profilesPath+"symbol", a.plainly(func(w http.ResponseWriter, r *http.Request) error {
			r.Body = http.MaxBytesReader(w, r.Body, maxSymbols)
			pprof.Symbol(w, r)
			return nil
		}))
	}
}

// plainly answers for this machine only, and errors as text that go tool pprof shows.
func (a *API) plainly(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		err := error(&apiError{http.StatusForbidden, "profiles are for this machine: ask over loopback, or over the node's socket", nil})
		switch {
		case !fromThisMachine(r):
		case proxied(r.Header):
			err = &apiError{http.StatusForbidden, "profiles are for this machine, and not for whoever comes through a proxy on it", nil}
		default:
			err = h(w, r)
		}
		if err == nil {
			return
		}
		status := http.StatusInternalServerError
		if known, ok := errors.AsType[*apiError](err); ok {
			status = known.status
		} else {
			a.log.Error("admin request failed", "method", r.Method, "path", r.URL.Path, "err", err)
		}
		w.Header().Set("X-Go-Pprof", "1") // else the tool shows the status only
		http.Error(w, err.Error(), status)
	})
}

// fromThisMachine reports whether a request came over a unix socket or loopback. The
// admin listener may be open to a network for the sake of its metrics; a profile costs
// too much to be had from there.
func fromThisMachine(r *http.Request) bool {
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && local.Network() == "unix" {
		return true
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && peer.Addr().Unmap().IsLoopback()
}

func (a *API) listProfiles(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "Profiles of node %s, one at a time, of %v at most:\n\n", a.opts.Node, maxProfile)
	for _, p := range profiles {
		fmt.Fprintf(w, "  %-13s%s\n", p.name, p.about)
	}
	_, err := io.WriteString(w, "\nWith ?seconds=10 each is what happened in that time.\n"+
		"go tool pprof http://ADDRESS"+profilesPath+"profile?seconds=10\n")
	return err
}

// takeProfile takes one profile, or says why not.
func (a *API) takeProfile(p *profile, w http.ResponseWriter, r *http.Request) error {
	length, err := p.length(r)
	if err != nil {
		return err
	}
	if !profiling.TryLock() {
		return &apiError{http.StatusConflict, "another profile is being taken: ask again when it has ended", nil}
	}
	defer profiling.Unlock()
	// A client that takes nothing would hold up all others. The connection ends, and the
	// deadline with it.
	w.Header().Set("Connection", "close")
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(length + profileSlack)); err != nil {
		return fmt.Errorf("profile %s: %w", p.name, err)
	}
	a.log.Info("taking a profile", "profile", p.name, "seconds", length.Seconds())
	if p.onlyWhileAsked() {
		p.begin()
		defer p.end()
	}
	p.serve(w, r)
	return nil
}

// length is how long the request wants to have recorded; 0: the state as it is.
func (p *profile) length(r *http.Request) (time.Duration, error) {
	text := r.FormValue("seconds")
	if text == "" {
		if p.onlyWhileAsked() {
			return 0, &apiError{http.StatusBadRequest, p.name + " is recorded only while it is asked for: add ?seconds=10", nil}
		}
		return p.recorded, nil
	}
	n, err := strconv.Atoi(text)
	if most := int(maxProfile / time.Second); err != nil || n < 1 || n > most {
		return 0, &apiError{http.StatusBadRequest, fmt.Sprintf("seconds=%s: want a whole number from 1 to %d", text, most), nil}
	}
	return time.Duration(n) * time.Second, nil
}
