package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/acme"
	"gatehouse/admin"
	"gatehouse/cache"
	"gatehouse/edge"
	"gatehouse/edge/overload"
	"gatehouse/edge/waf"
	"gatehouse/internal/logpipe"
	"gatehouse/internal/redisconn"
	"gatehouse/routes"
)

// A node is one running gatehouse: everything that serve opens.
type node struct {
	cfg *Config
	log *slog.Logger
	out *logpipe.Pipe // what log writes to

	http, https, admin, socket net.Listener // nil: off

	store      routes.Store
	redis      *redisconn.Client // nil: routes in files
	redisAddrs []string          // host:port of the servers that the settings name
	follower   *routes.Follower
	metrics    *prometheus.Registry
	rules      *waf.Engine
	cache      *cache.Store
	memory     *overload.Monitor
	certs      *acme.Manager
	access     *edge.AccessLog
	edge       *edge.Server
	api        *admin.API

	memoryLimit int64 // bytes; 0: none

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

// openListeners takes all addresses, or none.
func (n *node) openListeners() error {
	for _, l := range []struct {
		setting, address string
		into             *net.Listener
	}{
		{"listen.http", n.cfg.Listen.HTTP, &n.http},
		{"listen.https", n.cfg.Listen.HTTPS, &n.https},
		{"listen.admin", n.cfg.Listen.Admin, &n.admin},
	} {
		if l.address == "" {
			continue
		}
		ln, err := net.Listen("tcp", l.address)
		if err != nil {
			return listenError(l.setting, l.address, err)
		}
		*l.into = ln
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

func (n *node) openData() error {
	if err := os.MkdirAll(n.cfg.Data, 0o700); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	ln, err := admin.ListenSocket(n.cfg.Socket())
	if err != nil {
		return err
	}
	n.socket = ln
	n.onClose(func() error { return closed(ln.Close()) })
	return nil
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
		if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
}

func (n *node) closeServers() error {
	var errs []error
	for _, s := range n.servers {
		errs = append(errs, closed(s.Close()))
	}
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
	change := acme.Change{Name: name}
	if t := owner.Vhost.TLS; t != nil && t.Certificate != nil {
		change.CertFile, change.KeyFile = t.Certificate.Cert, t.Certificate.Key
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
	if !n.follower.Status().Synced && n.follower.Table().Len() == 0 {
		why = append(why, "no routes have been loaded yet")
	}
	return why
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
