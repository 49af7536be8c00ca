package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"gatehouse/acme"
	"gatehouse/admin"
	"gatehouse/cache"
	"gatehouse/edge"
	"gatehouse/edge/overload"
	"gatehouse/edge/waf"
	"gatehouse/internal/logpipe"
	"gatehouse/internal/redisconn"
	"gatehouse/routes"
	"gatehouse/routes/filestore"
	"gatehouse/routes/redisstore"
)

// This file and its neighbours node.go, inspect.go, rules.go, purges.go, ratelimits.go, certs.go and eventlog.go are the only
// places that know every package of the program.

func init() {
	routes.UseRulesCheck(checkOwnRules)
	runServer = serve
	offlineInspect = openOffline
	openJudge = judgeExclusions
	buildProblem = waf.CheckBuild
	parseRedisURL = func(url string) error {
		_, err := redisconn.Parse(url)
		return err
	}
}

// firstTable is how long a starting node waits for its routes before it opens
// its doors: long enough for a healthy source, short enough for a dead one.
const firstTable = time.Second

// heirTable is how long a node that takes over waits for routes if it has none at
// all: the process before serves meanwhile, and goes on if there are none.
const heirTable = 20 * time.Second

// serve runs a node until ctx ends, then drains it. Everything that can fail is
// tried before the first connection is accepted, so an error means that nothing
// was half-started.
func serve(ctx context.Context, cfg *Config, out io.Writer, in *inheritance) (err error) {
	n := &node{cfg: cfg, in: in, handed: make(chan struct{})}
	n.out = logpipe.New(out, logpipe.Options{Resumed: func(lost int64) { n.log.Warn("lines of this log were lost", "lines", lost) }})
	n.log = newLogger(n.out, cfg.Log.Level)
	n.memoryLimit = overload.SetGoLimit("/", n.log).Limit // first: what follows fills memory
	defer func() { _ = n.out.Close() }()                  // a log that takes nothing is no reason to fail
	defer ignoreBrokenPipes()()
	usr2 := make(chan os.Signal, 1)
	signal.Notify(usr2, syscall.SIGUSR2) // from now on: unheard, it would end the process
	defer signal.Stop(usr2)
	defer n.explainHangups()()
	defer func() { err = errors.Join(err, n.close()) }()
	for _, step := range []func() error{
		n.openListeners, n.openRoutes, n.openData, n.openAccessLog, n.openEngines, n.openEdge, n.openBackends, n.openAdmin,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return n.run(ctx, usr2)
}

// ignoreBrokenPipes keeps the process alive when the reader of its output goes
// away (os/signal: a write to a broken pipe on descriptor 1 or 2 ends a program
// that does not ask for SIGPIPE): such a write fails, and the line is lost.
func ignoreBrokenPipes() (stop func()) {
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	return func() { signal.Stop(broken) }
}

// explainHangups keeps SIGHUP from ending the process, and says what to do in its place: by habit it is a wish to have settings
// read anew. Where hangups are ignored, as under nohup, they stay so.
func (n *node) explainHangups() (stop func()) {
	if signal.Ignored(syscall.SIGHUP) {
		return func() {}
	}
	hangups, ended := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		defer close(ended)
		for range hangups {
			n.log.Warn("SIGHUP changes nothing: routes act as they are written; for gatehouse.yaml and for another binary there is gatehouse upgrade, or SIGUSR2")
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(hangups)
		<-ended
	}
}

func newLogger(out io.Writer, level string) *slog.Logger {
	var l slog.Level
	if l.UnmarshalText([]byte(level)) != nil { // loadConfig has checked it
		l = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: l}))
}

// openStore opens the source of the documents. The Redis client is nil for files. inUse is as redisstore.Options.InUse.
func openStore(cfg *Config, log *slog.Logger, inUse redisstore.InUse) (routes.Store, *redisconn.Client, error) {
	if dir, ok := cfg.RoutesDir(); ok {
		store, err := filestore.Open(dir, filestore.Options{Logger: log})
		return store, nil, err
	}
	opts, err := cfg.redisOptions(cfg.Routes)
	if err != nil {
		return nil, nil, err
	}
	client, err := redisconn.Open(opts)
	if err != nil {
		return nil, nil, err
	}
	store, err := redisstore.Open(client, redisstore.Options{Logger: log, InUse: inUse})
	if err != nil {
		return nil, nil, errors.Join(err, client.Close())
	}
	return store, client, nil
}

func (n *node) openRoutes() (err error) {
	if n.store, n.redis, err = openStore(n.cfg, n.log, n.inUse); err != nil {
		return fmt.Errorf("routes: %w", err)
	}
	if n.redis != nil {
		n.onClose(n.redis.Close)
	}
	if err := n.openShared(); err != nil {
		return err
	}
	acceptLoss := "" // with files, a restart accepts
	if n.redis != nil {
		acceptLoss = n.redis.Prefix() + routes.AcceptLossKey
	}
	n.follower, err = routes.NewFollower(routes.FollowerOptions{
		Source: n.store, LastGood: n.cfg.dataFile("routes.last-good"), Apply: n.apply, AcceptLoss: acceptLoss, Logger: n.log,
	})
	return err
}

func (n *node) openEngines() (err error) {
	n.metrics = prometheus.NewRegistry()
	n.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gatehouse_log_lost_lines_total", Help: "Lines of the log that stderr did not take.",
		}, func() float64 { return float64(n.out.Lost()) }))
	if err := n.openRules(); err != nil {
		return err
	}
	if err := n.openEvents(); err != nil {
		return err
	}
	if limit, most := n.memoryLimit, int64(n.cfg.Cache.Memory); limit > 0 && most > limit/4*3 {
		n.log.Warn("cache.memory leaves little of the memory that this process may use: the cache will be made smaller when it is short",
			"cache.memory", n.cfg.Cache.Memory.String(), "limit", routes.Size(limit).String())
	}
	if n.cache, err = cache.New(cache.Options{MaxBytes: int64(n.cfg.Cache.Memory), Registerer: n.metrics, Logger: n.log}); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	n.onClose(func() error { n.cache.Close(); return nil })
	if err := n.openPurges(); err != nil {
		return err
	}
	n.memory, err = overload.New(overload.Options{Limit: n.memoryLimit, Cache: n.cache, Logger: n.log, Registerer: n.metrics})
	if err != nil {
		return err
	}
	if err := n.openBlocks(); err != nil {
		return err
	}
	return n.openCertificates()
}

func (n *node) openCertificates() (err error) {
	first, fallbacks := acmeIssuers(&n.cfg.Certificates.ACME)
	o := acme.Options{
		Data: n.cfg.Data, Issuer: n.cfg.Certificates.Issuer, ACME: first, Fallbacks: fallbacks, Node: n.cfg.Node,
		ECH:     acme.ECH{PublicName: n.cfg.TLS.ECH.PublicName, Rotate: time.Duration(n.cfg.TLS.ECH.Rotate)},
		DNSHook: n.cfg.Certificates.ACME.DNSHook, OrdersPerTenant: n.cfg.Certificates.ACME.OrdersPerTenant,
		Known: func(host string) bool { return n.follower.Table().Match(host) != nil },
		// There is no handshake before there is an edge.
		Binding: func(dst []byte, name string) []byte { return n.edge.AppendBinding(dst, name) },
		Tenant:  n.tenantOf, Logger: n.log, Registerer: n.metrics,
	}
	if o.DNS, err = n.cfg.Certificates.ACME.DNSUpdate.publisher(); err != nil {
		return err
	}
	if err := n.shareCertificates(&o); err != nil {
		return fmt.Errorf("certificates: %w", err)
	}
	if err := n.openWebhook(&o); err != nil {
		return err
	}
	if n.certs, err = acme.New(o); err != nil {
		return fmt.Errorf("certificates: %w", err)
	}
	return nil
}

// tenantOf is whose a host is; "" of a vhost without tenant.
func (n *node) tenantOf(host string) string {
	if route := n.follower.Table().Match(host); route != nil && route.Vhost != nil {
		return route.Vhost.Tenant
	}
	return ""
}

func (n *node) openEdge() (err error) {
	n.openRateLimits()
	n.edge, err = edge.New(edge.Options{
		Node: n.cfg.Node, Certificates: n.certs, WAF: n.rules, Events: n.events, Cache: n.cache, Defaults: n.cfg.Defaults,
		TrustedProxies: n.cfg.Trusted(), ProxyProtocol: n.cfg.ProxyProtocol, PublicHTTPS: n.cfg.Listen.PublicHTTPS, Limits: edgeLimits(&n.cfg.Limits),
		Overload: n.memory.Level, RateSharing: n.rates,
		ECHKeys:   n.certs.EncryptedClientHelloKeys,
		Addresses: n.cfg.Addresses.rules(), AddressLists: n.cfg.dataFile("lists"), AddressRefresh: time.Duration(n.cfg.Addresses.Refresh), Blocks: n.blocks,
		Denied: n.denied, AccessLog: n.access, Logger: n.log, Registerer: n.metrics,
	})
	if err == nil && n.watch != nil {
		n.watch.replaced = n.edge.RulesReplaced
	}
	return err
}

// edgeLimits translates "0: none" of the settings into the edge's "negative: none".
func edgeLimits(l *Limits) edge.Limits {
	return edge.Limits{
		Header: int(l.HeaderBytes), Target: int64(l.TargetBytes), HeaderFields: l.HeaderFields,
		Body: int64(noneIfZero(l.BodyBytes)), Connections: l.Connections,
		ConnectionsPerIP: noneIfZero(l.ConnectionsPerIP), HandshakesPerIP: l.HandshakesPerIP, KeepAliveRequests: noneIfZero(l.KeepaliveRequests),
		ConnectionAge: time.Duration(noneIfZero(l.ConnectionAge)), Idle: time.Duration(l.IdleTimeout),
		Handshake: time.Duration(l.HandshakeTimeout), HeaderTime: time.Duration(l.HeaderTimeout),
		Stall: time.Duration(l.StallTimeout), MinRate: int(noneIfZero(l.MinRate)),
		TenantConcurrency: noneIfZero(l.TenantConcurrency), TenantQueue: noneIfZero(l.TenantQueue), QueueTime: time.Duration(l.QueueTimeout),
		ResponseHeader: int(l.ResponseHeaderBytes), ResponseHeaderFields: l.ResponseHeaderFields,
		DrainAccept: time.Duration(noneIfZero(l.DrainAccept)), DrainGrace: time.Duration(l.DrainGrace),
	}
}

func noneIfZero[T int | routes.Size | routes.Duration](v T) T {
	if v == 0 {
		return -1
	}
	return v
}

func (n *node) openAdmin() error {
	n.api = admin.New(admin.Options{
		Table: n.table, Status: n.follower.Status, Held: n.follower.Holds, Store: n.store, Defaults: n.cfg.Defaults,
		Certificates: n.certificates(), CertificateProblem: n.certs.Problem, ClientAuthProblem: n.edge.ClientAuthProblem, AddressProblems: n.edge.AddressProblems, RulesProblem: repeatedRule, ExclusionProblems: exclusionsAgainst(n.rules), VhostProblems: n.vhostProblems,
		Inspect: func(_ context.Context, r admin.InspectRequest) (admin.InspectResult, error) {
			return inspect(n.edge, r)
		},
		Blocks: adminBlocks{n}, TrustedProxies: n.cfg.Trusted(),
		Purge: n.purge, CacheFigures: n.cacheFigures, Backends: n.backendsAPI(),
		Events: n.findEvents, Report: n.reportEvents, EachEvent: n.eachEvent, Ruleset: ruleset{n.rules}, RulesRefused: n.watch.problem,
		Upgrade: n.upgrade, NotReady: n.notReady, Warnings: n.warnings, Gatherer: n.metrics, Version: readVersion().Version, Node: n.cfg.Node, Logger: n.log,
	})
	return nil
}

// run serves until ctx ends, something breaks or a heir serves, and drains.
func (n *node) run(ctx context.Context, usr2 <-chan os.Signal) error {
	w := newWork(ctx)
	w.begin(w.data, "routes", func() error { return n.follower.Run(w.data) })
	if err := n.awaitTable(ctx); err != nil {
		w.stop()
		return err
	}
	w.begin(w.all, "memory guard", func() error { return n.memory.Run(w.all) })
	w.begin(w.all, "memory headroom", func() error {
		return overload.KeepHeadroom(w.all, func() int64 { return n.cache.Stats().Bytes })
	})
	n.beginRestore(w)
	if n.purges != nil { // behind it: it knows from where
		w.begin(w.all, "purges", func() error { return n.purges.Run(w.all) })
	}
	if n.rates != nil {
		w.begin(w.all, "rate limits", func() error { return n.shareRateLimits(w.all) })
	}
	n.serveAll(func(what string, f func() error) { w.begin(w.all, what, f) })
	if n.predecessor() == nil {
		n.life.serve() // whoever reads that it serves may upgrade it
	}
	n.log.Info("serving", "http", addr(n.http), "https", addr(n.https), "admin", addr(n.admin), "socket", n.cfg.Socket(),
		"vhosts", n.follower.Table().Len())
	n.tellServing()
	w.begin(w.data, "waf events", func() error { return n.events.Run(w.data) })
	w.begin(w.all, "backends", func() error { return n.backends.Run(w.all) })
	w.begin(w.all, "client authorities", func() error { return n.edge.FollowAuthorities(w.all) })
	n.followBlocks(w)
	w.begin(w.all, "addresses", func() error { return n.edge.FollowAddresses(w.all) })
	w.begin(w.data, "certificates", func() error { return n.workInData(w.data) })
	if n.webhook != nil {
		w.begin(w.all, "webhook", func() error { return n.webhook.Run(w.all) })
	}
	if n.watch != nil {
		w.begin(w.all, "waf rules", func() error { n.watch.run(w.all); return nil })
	}
	w.begin(w.all, "upgrade", func() error { n.upgradeOnSignal(w.all, usr2); return nil })

	var failed error
	select {
	case <-ctx.Done():
	case <-n.handed:
	case failed = <-w.broken:
		n.log.Error("stopping", "err", failed)
	}
	h := n.life.end()
	var drained error
	if h != nil {
		n.log.Info("draining, handed over", "to", h.process.Pid)
		w.begin(w.all, "lease", func() error { w.stopData(); return h.lease.Close() })
		w.begin(w.all, "backends left", func() error { return n.leaving.Run(w.all) })
		drained = n.drainHanded(h)
	} else {
		n.log.Info("draining", "accepting", time.Duration(n.cfg.Limits.DrainAccept), "then_at_most", time.Duration(n.cfg.Limits.DrainGrace),
			"hint", "a second signal ends it at once")
		n.notify("STOPPING=1")
		drained = n.drain()
	}
	w.stop()
	n.log.Info("stopped")
	return errors.Join(failed, drained)
}

var errNoRoutes = errors.New("the source does not answer")

// awaitTable waits a moment for the routes. A node that takes over from one that
// has routes does not do so without.
func (n *node) awaitTable(ctx context.Context) error {
	before := n.predecessor()
	needed := before != nil && before.offer.Routes
	wait := firstTable
	if needed && n.follower.Table().Len() == 0 {
		wait = heirTable
	}
	select {
	case <-n.follower.First():
	case <-time.After(wait):
		n.log.Warn("the routes' source does not answer yet", "routes", n.redactedRoutes(), "err", n.store.Up())
		if needed && n.follower.Table().Len() == 0 {
			return fmt.Errorf("no routes could be loaded from %s within %v: %w", n.redactedRoutes(), wait, cmp.Or(n.store.Up(), errNoRoutes))
		}
	case <-ctx.Done():
		if before != nil {
			return errors.New("stopped before it took over")
		}
	}
	return nil
}

func addr(ln net.Listener) string {
	if ln == nil {
		return "off"
	}
	return ln.Addr().String()
}
