package edge

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"gatehouse/cache"
	"gatehouse/edge/health"
	"gatehouse/edge/iplist"
	"gatehouse/edge/overload"
	"gatehouse/edge/ratelimit"
	"gatehouse/edge/upstream"
	"gatehouse/edge/waf"
	"gatehouse/edge/wire"
	"gatehouse/internal/seldom"
	"gatehouse/routes"
)

// Options configure a Server. The zero value serves plain HTTP without WAF,
// cache and access log.
type Options struct {
	// Node stands in front of request ids; empty: nothing does.
	Node string
	// Certificates is required by ServeTLS; nil: plain HTTP only.
	Certificates Certificates
	// ECHKeys is tls.Config's GetEncryptedClientHelloKeys. It is asked in each handshake whose client offers ECH (RFC 9849), must
	// not block, and its keys must not change. Nil: ECH is not offered.
	ECHKeys func(*tls.ClientHelloInfo) ([]tls.EncryptedClientHelloKey, error)
	// WAF is the shared engine; nil: no request is inspected, whatever a vhost says.
	WAF *waf.Engine
	// Events keeps what the WAF finds; nil: it is only logged.
	Events WAFEvents
	// Cache is the shared store; nil: nothing is cached, whatever a vhost says.
	Cache *cache.Store
	// Defaults apply to a vhost without tenant, or whose tenant has no document.
	Defaults *routes.Tenant
	// TrustedProxies are the networks whose X-Forwarded-* and X-Request-Id are believed.
	TrustedProxies []netip.Prefix
	// ProxyProtocol has PROXY headers (v1, v2) of TrustedProxies read.
	ProxyProtocol bool
	// PublicHTTPS is the port in redirects to https; 0 and 443 are left out.
	PublicHTTPS int
	Limits      Limits
	// RateSharing has the rate limits of vhosts count together with other nodes; the caller runs it. Nil: this node counts alone.
	RateSharing *ratelimit.Sharing
	// Overload says what the server has to give up for memory; it is asked for
	// each request and must be quick. Nil: nothing.
	Overload func() overload.Level
	// Denied returns the rule by which an address must not be a backend, beside those of
	// routes.NeverBackend: our own listeners and socket, our Redis, what the operator
	// denies; "" for none. network is "tcp4", "tcp6" or "unix"; the address is an IP
	// address with a port, or a path. It is asked when a connection is opened. Nil: no other.
	Denied func(network, address string) string
	// LookupHost returns the addresses of a backend's name; see upstream.ResolverOptions. Nil: the system's resolver.
	LookupHost func(ctx context.Context, host string) ([]netip.Addr, error)
	// BackendTLS is used towards https backends; nil verifies with the system's roots.
	BackendTLS *tls.Config
	// Addresses are those of the process, asked behind a vhost's and its tenant's. Nil: none.
	Addresses *routes.Addresses
	// AddressLists is the folder for the last good form of lists of addresses; empty: they are not kept. AddressRefresh
	// is the time between two requests for one that is a URL; 0: one hour.
	AddressLists   string
	AddressRefresh time.Duration
	// Blocks keep networks out that no list allows; its OnChange is the server's. Nil: nobody is blocked.
	Blocks *iplist.Blocks
	// AccessLog gets one line per request; nil: none. The caller closes it after Shutdown.
	AccessLog *AccessLog
	// Logger: nil discards.
	Logger *slog.Logger
	// Registerer: nil leaves the metrics unregistered.
	Registerer prometheus.Registerer
}

// A Server is the edge. It is safe for concurrent use.
type Server struct {
	opts       Options
	log        *slog.Logger
	metrics    *metrics
	idPrefix   string
	via        string  // what we add to Via: our name there is unlike any other node's
	handle     handler // the chain
	fetch      handler // what of it lies behind the cache
	http       *fasthttp.Server
	door       *wire.Door
	tls        *tls.Config // of the listener
	challenges *tls.Config // of handshakes that validate a name
	plainTerms [grades]*terms
	signing    signing
	table      atomic.Pointer[routes.Table]
	asked      asked
	backends   backends
	names      *upstream.Resolver // of backends
	places     placeSets
	limits     rateLimits
	stickyKey  atomic.Pointer[StickyKey] // never nil
	checks     checks
	prober     *health.Prober
	tunnels    connSet // upgraded connections
	turns      turns
	encoders   encoders
	refreshes  refreshes
	exclusions exclusionSets
	presets    presetSets

	authorities authorities
	files       routes.FileReader // that documents name
	failures    seldom.Teller     // of requests
	addresses   addresses
	ignored     ignoredOnce // exclusions without effect that were logged

	listening listenerSet

	waiters    waiters
	refreshing atomic.Int64 // what goes on behind hits: requests for what is stale, and coding
	forming    atomic.Int64 // coded forms in the making
	draining   atomic.Bool
	settled    chan struct{} // see Settled
	settle     func()        // closes it, once
	active     atomic.Int64  // when a request last began, unix nanoseconds
}

// New makes a server without listeners and without a table: until Apply, every
// request is answered 503.
func New(opts Options) (*Server, error) {
	opts.Limits = opts.Limits.withDefaults()
	s := &Server{opts: opts, log: opts.Logger, settled: make(chan struct{})}
	s.settle = sync.OnceFunc(func() { close(s.settled) })
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if opts.Node != "" {
		s.idPrefix = opts.Node + "-"
	}
	var err error
	if s.metrics, err = newMetrics(opts.Registerer, opts.AccessLog.Lost); err != nil {
		return nil, err
	}
	s.names = upstream.NewResolver(upstream.ResolverOptions{Lookup: opts.LookupHost, Observe: s.lookedUp})
	s.via = viaProtocol + nodePrefix + s.newID()
	s.handle = chain(s.links(), s.forward)
	s.authorities.log, s.authorities.files = s.log, &s.files
	s.limits.sharing = opts.RateSharing
	var key StickyKey
	_, _ = rand.Read(key[:]) // never fails (crypto/rand)
	s.SetStickyKey(key)
	s.prober = s.newProber()
	if err := s.openAddresses(); err != nil {
		return nil, err
	}
	if opts.Certificates != nil {
		s.signing.init()
		s.tls = s.tlsConfig()
	}
	s.http, s.door = s.newHTTP(), s.newDoor()
	if opts.Registerer != nil {
		err = errors.Join(opts.Registerer.Register(backendsCollector{s}), s.metrics.registerDoor(opts.Registerer, s.door), s.metrics.registerSigning(opts.Registerer, &s.signing),
			s.limits.register(opts.Registerer))
	}
	return s, err
}

// newDoor makes what all listeners share.
func (s *Server) newDoor() *wire.Door {
	return wire.NewDoor(wire.Options{
		PerIP: s.opts.Limits.ConnectionsPerIP, Connections: s.opts.Limits.Connections, HandshakesPerIP: s.opts.Limits.HandshakesPerIP,
		Trusted: s.opts.TrustedProxies, ProxyProtocol: s.opts.ProxyProtocol,
		Shed:            func() bool { return s.level() >= overload.NoConnections },
		Refused:         func(reason string) { s.metrics.turnedAway.WithLabelValues(reason).Inc() },
		HandshakeFailed: s.metrics.handshakeFailed,
		Handshaken:      s.handshaken,
		Limits:          s.opts.Limits.wire(), Log: s.log,
	})
}

// newHTTP configures fasthttp as what runs connections, and nothing else: it is given
// a stand-in for each request and gives one for each response. Its whole-message timeouts stay off: they cut healthy slow
// transfers.
func (s *Server) newHTTP() *fasthttp.Server {
	h := &fasthttp.Server{
		Handler:               s.serveHTTP1,
		ReadBufferSize:        256,           // holds a stand-in; see package wire
		Concurrency:           math.MaxInt32, // the door bounds connections: beyond this one, the library writes to a client where it accepts
		NoDefaultServerHeader: true,
		NoDefaultDate:         true,
		NoDefaultContentType:  true,
		SecureErrorLogMessage: true,
		CloseOnShutdown:       true,
		ReduceMemoryUsage:     true,
		Logger:                quiet{s.log},
	}
	h.NextProto(acmeALPN, closeALPN)
	return h
}

// quiet takes fasthttp's log lines to the debug level: what matters of them is
// in the access log already.
type quiet struct{ log *slog.Logger }

func (q quiet) Printf(format string, args ...any) { q.log.Debug("http", "line", format, "args", args) }

// Serve accepts plain connections until the listener closes; it takes the
// listener over. It returns nil after Shutdown and Handover.
func (s *Server) Serve(ln net.Listener) error { return s.serve(s.door.Listen(ln, nil)) }

// ServeTLS accepts TLS connections; see Serve.
func (s *Server) ServeTLS(ln net.Listener) error {
	if s.tls == nil {
		return errors.New("edge: TLS needs certificates")
	}
	return s.serve(s.door.Listen(ln, s.tls))
}

func (s *Server) serve(ln net.Listener) error {
	if !s.listening.add(ln) {
		return nil
	}
	err := s.http.Serve(ln)
	if s.draining.Load() {
		return nil
	}
	return err
}

// Apply makes a table the one that requests from now on see. Requests under way
// keep the one that they began with. Sites of vhosts that did not change go on
// as they are; those of removed vhosts are closed.
func (s *Server) Apply(table *routes.Table, replaced []routes.Replaced) {
	for _, change := range replaced {
		if change.New != nil && s.tls != nil {
			s.authorities.hold(change.New, s.newTerms)
		}
		s.beginChecks(change)
	}
	s.table.Store(table)
	for _, change := range replaced {
		s.authorities.release(change.Old)
		s.endChecks(change)
		if change.New == nil && change.Old != nil {
			s.retireRoute(change.Old)
		}
		s.dropStored(change)
		s.dropBelow(table, change)
		if change.Old != nil && change.Old.Vhost != nil {
			tenant := change.Old.Vhost.Tenant
			if _, _, known := table.Tenant(tenant); tenant != "" && !known {
				s.metrics.forget(tenant)
			}
		}
	}
	s.giveBack(table, replaced)
	if slices.ContainsFunc(replaced, func(change routes.Replaced) bool {
		return hasAddresses(change.Old) || hasAddresses(change.New) || suspends(change.New) || serves(change.Old) && !serves(change.New)
	}) {
		s.addressesChanged()
	}
}

// Table returns the table that requests see now; nil before the first Apply.
func (s *Server) Table() *routes.Table { return s.table.Load() }

// closeTime is what Close gives requests that it has cut, for their access lines.
const closeTime = time.Second

// Close ends everything at once: round trips and connections are cut, and the
// requests on them end with their access lines.
func (s *Server) Close() error {
	s.draining.Store(true)
	s.waiters.closeAll()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := s.http.ShutdownWithContext(ctx)
	if errors.Is(err, context.Canceled) || errors.Is(err, net.ErrClosed) { // a listener that is closed already
		err = nil
	}
	err = errors.Join(err, s.tunnels.closeAll((*taken).Close))
	s.door.Reset()
	for end := time.Now().Add(closeTime); s.InFlight()+int(s.refreshing.Load()) > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	s.names.Close()
	s.settle()
	return err
}

// InFlight is the number of requests that are being served, upgraded connections
// among them.
func (s *Server) InFlight() int { return int(s.metrics.inFlight.Load()) }

// level is how short memory is.
func (s *Server) level() overload.Level {
	if s.opts.Overload == nil {
		return overload.Normal
	}
	return s.opts.Overload()
}

// Draining reports whether Shutdown or Handover has begun.
func (s *Server) Draining() bool { return s.draining.Load() }
