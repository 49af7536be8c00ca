package admin

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"gatehouse/routes"
)

// Options say where an API gets what it shows and changes. The zero value works:
// a node without routes that can neither be written to nor tested.
type Options struct {
	// Table returns the table that requests are answered by. Nil: an empty one.
	Table func() *routes.Table
	// Status returns how the table stands to its source. Nil: in step.
	Status func() routes.FollowerStatus
	// Held reports whether the source has lost a document, which is not believed. Nil: none.
	Held func(routes.Key) bool
	// Store takes changes. Nil: they are refused.
	Store routes.Store
	// Defaults apply to vhosts without a tenant document. Nil: the built-in ones.
	Defaults *routes.Tenant
	// Inspect judges a request as the server itself would. Nil: waf test is refused.
	Inspect func(ctx context.Context, r InspectRequest) (InspectResult, error)
	// Events finds WAF events, and Report groups them. Nil: refused.
	Events func(ctx context.Context, q EventQuery) (EventList, error)
	Report func(ctx context.Context, q EventQuery) (EventReport, error)
	// EachEvent calls visit once with every kept event that the query wants, in no order. Nil: there
	// are none.
	EachEvent func(ctx context.Context, q EventQuery, visit func(*Event)) (EventsMissing, error)
	// Ruleset is that of the WAF. Nil: there is no WAF.
	Ruleset Ruleset
	// CertificateProblem returns why the certificate files of the vhost with that
	// name are not served. It must not block. Nil: there are no problems.
	CertificateProblem func(name string) error
	// Certificates are listed, renewed and imported by it.
	Certificates Certificates
	// ClientAuthProblem returns why the authorities that the vhost with that name has for
	// its clients' certificates are not those in use. It must not block. Nil: there are no problems.
	ClientAuthProblem func(name string) error
	// AddressProblems returns what is wrong with each of the lists of addresses that the vhost with that name, or
	// its tenant, names. It must not block. Nil: there are no problems.
	AddressProblems func(name string) []error
	// RulesProblem returns what is wrong with a vhost's own rules beside its tenant's.
	// Nil: there are no problems.
	RulesProblem func(tenants, vhosts string) error
	// ExclusionProblems returns what of WAF exclusions has no effect with the rules in
	// use; each field is that of one exclusion and below ("[0].rules"). It must not
	// block. Nil: there are no problems.
	ExclusionProblems func(list []routes.Exclusion) routes.Problems
	// VhostProblems returns what a vhost's good document says that its author may not mean, or that this node does
	// not do, such as a backend that is never dialled. The route has a document. A list asks it of each vhost: it must
	// not block. Nil: there are no problems.
	VhostProblems func(route *routes.Route) routes.Problems
	// RulesRefused returns why the newer rules of the folder that the node follows are not
	// in force. Nil: there are none.
	RulesRefused func() error
	// Purge purges the cache, here and on the nodes that share a Redis with this one, and waits for their answers until ctx
	// ends. An error wraps ErrNoVhost if no vhost answers for the host; then nothing was purged. Nil: refused.
	Purge func(ctx context.Context, r PurgeRequest) (PurgeResult, error)
	// CacheFigures returns those of all vhosts, by tenant and name. Nil: refused.
	CacheFigures func() []CacheFigures
	// Backends are listed and drained by it.
	Backends Backends
	// Blocks are the blocked networks. Nil: refused.
	Blocks Blocks
	// TrustedProxies are networks whose block has to be confirmed.
	TrustedProxies []netip.Prefix
	// NotReady returns the reasons why the node should get no traffic; empty:
	// it is ready. Nil: always ready.
	NotReady func() []string
	// Warnings returns what an operator should mend though the node serves, beside what the API finds itself. Nil: nothing.
	Warnings func() []string
	// Upgrade hands the node over to a new process of its binary and returns once
	// that serves. An error says why the node goes on as it is. Nil: refused.
	Upgrade func(ctx context.Context) (Upgraded, error)
	// Gatherer holds the metrics. Nil: none.
	Gatherer prometheus.Gatherer
	// Version and Node name the program and the process. The node's name is also
	// a Host that TCP clients may use.
	Version, Node string
	// Logger receives every change. Nil discards.
	Logger *slog.Logger
}

// An API answers the operator's requests. It is safe for concurrent use; changes
// run one after another.
type API struct {
	opts Options
	log  *slog.Logger
	// files are those that documents name, to tell what is wrong with them.
	files routes.FileReader

	changing sync.Mutex // held from reading the present document until its change is in the table
	draining sync.Mutex // held until a drain acts: two who drain one each must not drain both of two
}

// New returns the API that opts describe. It starts nothing.
func New(opts Options) *API {
	if opts.Table == nil {
		empty := &routes.Table{}
		opts.Table = func() *routes.Table { return empty }
	}
	if opts.Status == nil {
		opts.Status = func() routes.FollowerStatus { return routes.FollowerStatus{Synced: true} }
	}
	if opts.Held == nil {
		opts.Held = func(routes.Key) bool { return false }
	}
	if opts.CertificateProblem == nil {
		opts.CertificateProblem = func(string) error { return nil }
	}
	if opts.ClientAuthProblem == nil {
		opts.ClientAuthProblem = func(string) error { return nil }
	}
	if opts.AddressProblems == nil {
		opts.AddressProblems = func(string) []error { return nil }
	}
	if opts.RulesProblem == nil {
		opts.RulesProblem = func(string, string) error { return nil }
	}
	if opts.ExclusionProblems == nil {
		opts.ExclusionProblems = func([]routes.Exclusion) routes.Problems { return nil }
	}
	if opts.VhostProblems == nil {
		opts.VhostProblems = func(*routes.Route) routes.Problems { return nil }
	}
	if opts.RulesRefused == nil {
		opts.RulesRefused = func() error { return nil }
	}
	if opts.NotReady == nil {
		opts.NotReady = func() []string { return nil }
	}
	if opts.Gatherer == nil {
		opts.Gatherer = prometheus.NewRegistry()
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &API{opts: opts, log: opts.Logger}
}

// Private returns the whole API. It has no authentication of its own: serve it on
// a socket that only the operator can open (ListenSocket).
//
//	GET    /vhosts            VhostList
//	GET    /vhosts/{name}     VhostDetail
//	PUT    /vhosts/{name}     document → VhostDetail; If-None-Match: * refuses to replace one
//	PATCH  /vhosts/{name}     Patch → VhostDetail
//	DELETE /vhosts/{name}     Removed
//	                          these three: 409 if path vhosts of it would answer no more, unless ?yes=true
//	…      /tenants…          the same with TenantList and TenantDetail; PATCH makes a new one
//	POST   /waf/test          InspectRequest → InspectResult
//	GET    /waf/events        EventList; ?tenant= &vhost= &id= &rule= &since=1h &n=50
//	GET    /waf/report        EventReport; the same without id
//	GET    /waf/rules         RuleList; ?tenant= &rule=
//	POST   /waf/allow         AllowRequest → AllowResult
//	POST   /waf/undo          UndoRequest → UndoResult
//	POST   /cache/purge       PurgeRequest → PurgeResult
//	GET    /cache/stats       CacheStats; ?host=
//	GET    /backends          BackendList; ?host= &url=
//	GET    /backends/drained  UnderWay; ?url= &tenant=
//	POST   /backends/drain    DrainRequest → DrainResult
//	POST   /backends/undrain  DrainRequest → DrainResult
//	GET    /certs             CertificateList; ?name= (may be repeated) &issuer= &expiring=10d
//	GET    /certs/ech         ECHRecords; ?name= (may be repeated)
//	POST   /certs/renew       RenewRequest → RenewResult
//	POST   /certs/import      ImportRequest → ImportResult
//	POST   /certs/remove      RemoveCertRequest → RemoveCertResult
//	GET    /blocks            BlockList; ?tenant=
//	POST   /blocks            BlockRequest → BlockResult; 409: it has to be confirmed
//	POST   /blocks/remove     UnblockRequest → BlockResult
//	POST   /upgrade           Upgraded
//	GET    /version           Version
//	GET    /health            Readiness, as /readyz
//
// and everything of Public. Errors are answered with Failure, those of profiles with text.
func (a *API) Private() http.Handler {
	mux := http.NewServeMux()
	a.public(mux)
	for pattern, h := range map[string]handler{
		"GET /vhosts":           a.listVhosts,
		"GET /vhosts/{name}":    a.showVhost,
		"PUT /vhosts/{name}":    a.putVhost,
		"PATCH /vhosts/{name}":  a.patchVhost,
		"DELETE /vhosts/{name}": a.deleteVhost,

		"GET /tenants":           a.listTenants,
		"GET /tenants/{name}":    a.showTenant,
		"PUT /tenants/{name}":    a.putTenant,
		"PATCH /tenants/{name}":  a.patchTenant,
		"DELETE /tenants/{name}": a.deleteTenant,

		"POST /waf/test":  a.inspect,
		"GET /waf/events": a.listEvents,
		"GET /waf/report": a.reportEvents,
		"GET /waf/rules":  a.listRules,
		"POST /waf/allow": a.allow,
		"POST /waf/undo":  a.undo,

		"POST /cache/purge": a.purge,
		"GET /cache/stats":  a.cacheStats,

		"GET /backends":          a.listBackends,
		"GET /backends/drained":  a.underWay,
		"POST /backends/drain":   a.drainBackend,
		"POST /backends/undrain": a.undrainBackend,

		"GET /certs":         a.listCerts,
		"GET /certs/ech":     a.echRecords,
		"POST /certs/renew":  a.renewCerts,
		"POST /certs/import": a.importCert,
		"POST /certs/remove": a.removeCerts,

		"GET /blocks":         a.listBlocks,
		"POST /blocks":        a.addBlock,
		"POST /blocks/remove": a.removeBlock,

		"POST /upgrade": a.upgrade,
		"GET /version":  a.version,
		"GET /health":   a.ready,
	} {
		mux.Handle(pattern, a.answer(h))
	}
	return a.guard(mux)
}

// Public returns the endpoints for machines: /metrics (Prometheus), /healthz (200
// while the process lives), /readyz (200, or 503 with reasons) and, for clients of this
// machine only, /debug/pprof/ (profiles, one at a time). They change
// nothing, but tell names of tenants and backends: keep them off the Internet.
func (a *API) Public() http.Handler {
	mux := http.NewServeMux()
	a.public(mux)
	return a.guard(mux)
}

func (a *API) public(mux *http.ServeMux) {
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.opts.Gatherer, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelError), MaxRequestsInFlight: 4,
	}))
	mux.Handle("GET /healthz", a.answer(a.alive))
	mux.Handle("GET /readyz", a.answer(a.ready))
	a.profiles(mux)
}

// A Version is the answer of /version.
type Version struct {
	Version string `json:"version"`
	Node    string `json:"node"`
}

func (a *API) version(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, Version{Version: a.opts.Version, Node: a.opts.Node})
}

// Failure is the answer to a request that could not be met.
type Failure struct {
	Error    string          `json:"error"`
	Problems routes.Problems `json:"problems,omitempty"` // of the document that was sent
}

// apiError is an error with the status that it is answered with.
type apiError struct {
	status   int
	reason   string
	problems routes.Problems
}

func (e *apiError) Error() string { return e.reason }

// handler answers, or returns an error with nothing written.
type handler func(http.ResponseWriter, *http.Request) error

// answer turns errors into responses, the only place that does.
func (a *API) answer(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		if err == nil {
			return
		}
		var known *apiError
		if !errors.As(err, &known) {
			a.log.Error("admin request failed", "method", r.Method, "path", r.URL.Path, "err", err)
			known = &apiError{status: http.StatusInternalServerError, reason: err.Error()}
		}
		if err := writeJSON(w, known.status, Failure{known.reason, known.problems}); err != nil {
			a.log.Debug("admin client left", "err", err)
		}
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // fails when the client has left: there is nobody to tell
	return nil
}
