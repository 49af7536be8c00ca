package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"gatehouse/routes"
)

// The demo's hosts. Everything below localhost is this machine (RFC 6761 §6.3).
const (
	demoShop = "shop.demo.localhost"
	demoBlog = "blog.demo.localhost"
)

// A demoSite is the folder, the toys and the settings of one demo.
type demoSite struct {
	cfg  *Config
	dir  string
	stop context.CancelFunc
	toys []<-chan error
	curl demoCurl
	self string // this program, as it can be typed
}

// newDemoSite makes the folder and starts the toys.
func newDemoSite(ctx context.Context, broken string) (*demoSite, error) {
	dir, err := os.MkdirTemp("", "gatehouse-demo-")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &demoSite{dir: dir, stop: cancel, self: selfName(), curl: findCurl(ctx)}
	if err := s.build(ctx, broken); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *demoSite) build(ctx context.Context, broken string) error {
	shop, err := s.startToy(ctx, "shop", broken == "backend")
	if err != nil {
		return err
	}
	blog, err := s.startToy(ctx, "blog", false)
	if err != nil {
		return err
	}
	ports, err := demoPorts(8443, 8080, 9180)
	if err != nil {
		return err
	}
	cfg := defaultConfig()
	cfg.Listen = Listen{
		HTTPS: loopback(ports[0]), HTTP: loopback(ports[1]), Admin: loopback(ports[2]), PublicHTTPS: ports[0],
	}
	cfg.Node = "demo"
	cfg.Data = s.path("data")
	cfg.Routes = "file:" + s.path("conf.d")
	cfg.Log.Level = "warn"
	// No balancer has to see first that this node leaves, and nobody waits for a demo.
	cfg.Limits.DrainAccept, cfg.Limits.DrainGrace = 0, routes.Duration(5*time.Second)
	s.cfg = cfg
	if err := os.Mkdir(s.path("conf.d"), 0o700); err != nil {
		return err
	}
	return os.WriteFile(s.routesFile(), []byte(demoRoutes(shop, blog, broken)), 0o600)
}

// demoRoutes is the routes file, sabotaged as asked.
func demoRoutes(shop, blog, broken string) string {
	mode, cached := "block", "true"
	switch broken {
	case "waf":
		mode = "off"
	case "cache":
		cached = "false"
	}
	return fmt.Sprintf(`tenants:
  shop:
    waf: {mode: %s}
  blog:
    waf: {mode: detect}

vhosts:
  %s:
    tenant: shop
    backends: [http://%s]
    cache: {enabled: %s, ttl: 60s}
  %s:
    tenant: blog
    backends: [http://%s]
`, mode, demoShop, shop, cached, demoBlog, blog)
}

// startToy starts a toy on a free port; a dead one has the port and does not answer on it.
func (s *demoSite) startToy(ctx context.Context, name string, dead bool) (addr string, err error) {
	ln, err := net.Listen("tcp", loopback(0))
	if err != nil {
		return "", err
	}
	if dead {
		return ln.Addr().String(), ln.Close()
	}
	ended := make(chan error, 1)
	go func() { ended <- serveToy(ctx, ln, name) }()
	s.toys = append(s.toys, ended)
	return ln.Addr().String(), nil
}

// close stops the toys and removes the folder.
func (s *demoSite) close() error {
	s.stop()
	var errs []error
	for _, ended := range s.toys {
		errs = append(errs, <-ended)
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

func (s *demoSite) path(name string) string { return filepath.Join(s.dir, name) }
func (s *demoSite) routesFile() string      { return filepath.Join(s.dir, "conf.d", "demo.yaml") }
func (s *demoSite) caFile() string          { return filepath.Join(s.cfg.Data, "ca", "ca.pem") }
func (s *demoSite) port() string            { return strconv.Itoa(s.cfg.Listen.PublicHTTPS) }
func (s *demoSite) url(host string) string  { return "https://" + host + ":" + s.port() + "/" }

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// demoPorts returns the wanted ports, each replaced by a free one if it is
// taken. They are all held until each is chosen, so they differ.
func demoPorts(wanted ...int) ([]int, error) {
	out := make([]int, len(wanted))
	for i, port := range wanted {
		ln, err := net.Listen("tcp", loopback(port))
		if err == nil && taken6(port) {
			_ = ln.Close()
			err = errors.New("taken on ::1")
		}
		if err != nil {
			ln, err = net.Listen("tcp", loopback(0))
		}
		if err != nil {
			return nil, err
		}
		defer ln.Close() // all are held until the last is chosen
		out[i] = ln.Addr().(*net.TCPAddr).Port
	}
	return out, nil
}

// taken6 reports whether somebody else has the port on ::1, which clients try
// first for a name below localhost.
func taken6(port int) bool {
	conn, err := net.Dial("tcp", net.JoinHostPort("::1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// selfName is how this program can be called from any folder: by its name if
// that is what PATH finds, else by its whole path.
func selfName() string {
	exe, err := os.Executable()
	if err != nil {
		return "gatehouse"
	}
	name := filepath.Base(exe)
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		found, err := os.Stat(filepath.Join(dir, name))
		if err != nil || found.IsDir() {
			continue
		}
		if own, err := os.Stat(exe); err == nil && os.SameFile(found, own) {
			return name
		}
		break // another program of this name comes first
	}
	return shellQuote(exe)
}

// shellQuote makes one word of s for a POSIX shell.
func shellQuote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=@%+,") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
