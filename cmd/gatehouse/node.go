package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/acme"
	"gatehouse/admin"
	"gatehouse/cache"
	"gatehouse/cache/redispurge"
	"gatehouse/edge"
	"gatehouse/edge/health"
	"gatehouse/edge/iplist"
	"gatehouse/edge/iplist/redisblock"
	"gatehouse/edge/overload"
	"gatehouse/edge/ratelimit"
	"gatehouse/edge/ratelimit/redislimit"
	"gatehouse/edge/waf"
	"gatehouse/edge/waf/events"
	"gatehouse/internal/logpipe"
	"gatehouse/internal/redisconn"
	"gatehouse/internal/webhook"
	"gatehouse/routes"
)

// A node is one running gatehouse: everything that serve opens.
type node struct {
	cfg *Config
	log *slog.Logger
	out *logpipe.Pipe // what log writes to
	in  *inheritance  // nil: this process cannot be upgraded

	http, https, admin net.Listener    // nil: off
	fixed              map[string]bool // listeners, by name, that the service manager named
	interfaces         interfaces      // of this machine
	socket             *admin.Socket   // of the private API

	life   life
	handed chan struct{} // closed once a heir serves

	store        routes.Store
	redis        *redisconn.Client // nil: routes in files
	shared       *redisconn.Client // of what nodes have in common; nil: this one is alone
	follower     *routes.Follower
	metrics      *prometheus.Registry
	rules        *waf.Engine
	watch        *ruleWatch // nil: the rules are the embedded ones
	events       *events.Log
	cache        *cache.Store
	purges       *redispurge.Node // nil: without Redis, this node's are its own
	ledger       *redislimit.Ledger
	rates        *ratelimit.Sharing // nil, like ledger: without Redis, this node counts alone
	memory       *overload.Monitor
	certs        *acme.Manager
	webhook      *webhook.Sender // nil: nobody is told of certificates
	access       *edge.AccessLog
	edge         *edge.Server
	backends     *health.Register
	leaving      *health.Leaving // once handed; nil: what nodes share says the same
	api          *admin.API
	blocks       *iplist.Blocks
	sharedBlocks *redisblock.Store // nil: without Redis, this node's are its own

	memoryLimit int64 // bytes; 0: none

	lookupHost func(host string) ([]netip.Addr, error) // of Redis; nil: the system's resolver

	servers []*http.Server // of the admin listener and the socket
	closers []func() error // run last to first
}

func (n *node) onClose(f func() error) { n.closers = append(n.closers, f) }

func (n *node) close() error {
	var errs []error
	for _, f := range slices.Backward(n.closers) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

func (n *node) openAccessLog() error {
	var w io.Writer
	switch to := n.cfg.Log.Access.To; to {
	case "stdout":
		w = os.Stdout
	case "stderr":
		w = os.Stderr
	default:
		f, err := os.OpenFile(to, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
		if err != nil {
			return fmt.Errorf("log.access.to: %w", err)
		}
		n.onClose(f.Close)
		w = f
	}
	log, err := edge.NewAccessLog(w, n.cfg.Log.Access.Format, n.log)
	if err != nil {
		return fmt.Errorf("log.access: %w", err)
	}
	n.access = log
	n.onClose(func() error {
		if err := log.Close(); err != nil { // no reason to fail: the requests were served
			n.log.Warn("the access log is not whole", "err", err)
		}
		return nil
	})
	return nil
}

// serveAll starts every listener.
func (n *node) serveAll(begin func(what string, f func() error)) {
	if n.http != nil {
		begin("http listener", func() error { return n.edge.Serve(n.http) })
	}
	if n.https != nil {
		begin("https listener", func() error { return n.edge.ServeTLS(n.https) })
	}
	if n.admin != nil {
		n.serveAPI(begin, "admin listener", n.admin, n.api.Public())
	}
	n.serveAPI(begin, "socket", n.socket, n.api.Private())
}

func (n *node) serveAPI(begin func(string, func() error), what string, ln net.Listener, h http.Handler) {
	server := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
	}
	n.servers = append(n.servers, server)
	begin(what, func() error {
		err := server.Serve(ln)
		if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) { // nobody but us closes it
			return nil
		}
		return err
	})
}

func (n *node) closeServers() error {
	var errs []error
	for _, s := range n.servers {
		errs = append(errs, closed(s.Close()))
	}
	return errors.Join(errs...)
}

// shutServers lets requests under way end until ctx does.
func (n *node) shutServers(ctx context.Context) error {
	errs := make([]error, len(n.servers))
	var all sync.WaitGroup
	for i, s := range n.servers {
		all.Go(func() { errs[i] = closed(s.Shutdown(ctx)) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// apply brings a new table to the edge, and the names in it to the certificates.
func (n *node) apply(table *routes.Table, replaced []routes.Replaced) {
	n.edge.Apply(table, replaced)
	n.certs.Update(certificateChanges(table, replaced))
}

// certificateChanges says for each name of the changed vhosts who has it now.
func certificateChanges(table *routes.Table, replaced []routes.Replaced) []acme.Change {
	var out []acme.Change
	seen := map[string]bool{}
	for _, r := range replaced {
		for _, route := range []*routes.Route{r.Old, r.New} {
			if route == nil || route.Vhost == nil {
				continue
			}
			if _, path := routes.SplitName(route.Name); path != "" {
				continue // the certificate is its host's
			}
			for _, name := range append([]string{route.Name}, route.Vhost.Aliases...) {
				if !seen[name] {
					seen[name] = true
					out = append(out, certificateChange(table, name))
				}
			}
		}
	}
	return out
}

func certificateChange(table *routes.Table, name string) acme.Change {
	owner := table.Owner(name)
	if owner == nil {
		return acme.Change{Name: name, Removed: true}
	}
	change := acme.Change{Name: name, Suspended: owner.IsSuspended()}
	t := owner.Vhost.TLS
	if t == nil {
		return change
	}
	change.RSA = t.KeyType == routes.KeyRSA
	switch {
	case t.Certificate != nil:
		change.CertFile, change.KeyFile = t.Certificate.Cert, t.Certificate.Key
		if change.Owner = "vhost " + owner.Name; owner.Vhost.Tenant != "" {
			change.Owner = "tenant " + owner.Vhost.Tenant
		}
	case t.OneCertificate:
		change.Set = owner.Name
	}
	return change
}

// table is the one that requests see; never nil.
func (n *node) table() *routes.Table {
	if t := n.edge.Table(); t != nil {
		return t
	}
	return &routes.Table{}
}

// notReady lists why the node should get no traffic.
func (n *node) notReady() []string {
	var why []string
	if n.edge.Draining() {
		why = append(why, "draining")
	}
	// The edge's table comes a moment after the follower's, a large one long enough to matter.
	if status := n.follower.Status(); n.edge.Table() == nil || !status.Synced && n.follower.Table().Len() == 0 {
		reason := "no routes have been loaded yet"
		if status.Up != nil {
			reason += ": " + status.Up.Error()
		}
		why = append(why, reason)
	}
	if problem, serving := n.certs.SealProblem(); !serving { // all names have the internal CA's certificates
		why = append(why, problem)
	}
	return why
}

// warnings lists what an operator should mend though the node serves.
func (n *node) warnings() (out []string) {
	if problem, serving := n.certs.SealProblem(); problem != "" && serving {
		out = append(out, problem)
	}
	if store, can := n.store.(interface{ Warning() string }); can { // Redis
		if warning := store.Warning(); warning != "" {
			out = append(out, warning)
		}
	}
	for _, err := range n.edge.ProcessAddressProblems() {
		out = append(out, "addresses: "+err.Error())
	}
	return append(out, adminBlocks{n}.warnings()...)
}

// redactedRoutes is the routes' place without a password.
func (n *node) redactedRoutes() string {
	if n.redis != nil {
		return n.redis.String()
	}
	return n.cfg.Routes
}

func (c *Config) dataFile(name string) string { return filepath.Join(c.Data, name) }

// closed makes closing twice no error.
func closed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
