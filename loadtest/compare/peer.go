package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"gatehouse/loadtest/report"
)

// A peer is a server that can be measured.
type peer struct {
	name     string
	programs []string // that must be found, ourselves left out
	files    []string // that must be there
	can      []ability
	// settings says in words what the configuration alone does not show.
	settings string
	version  func(ctx context.Context, o *options) string
	// start starts the peer's processes; those that it returns run, also with an error.
	start func(ctx context.Context, b *bed, o *options) ([]*process, error)
}

func (p peer) id() string { return p.name }

// Files of Debian's packages.
const (
	modSecurityModule = "/usr/lib/nginx/modules/ngx_http_modsecurity_module.so"
	debianRules       = "/usr/share/modsecurity-crs/rules/REQUEST-901-INITIALIZATION.conf"
)

// oneWorker makes a Go program use the one CPU that it is pinned to.
var oneWorker = []string{"GOMAXPROCS=1"}

var allPeers = []peer{
	{
		name: report.Ours, can: []ability{forwarding, caching, inspecting}, start: startGatehouse,
		settings: "log and metrics on",
		version:  func(ctx context.Context, o *options) string { return ownVersion(ctx, o) + ", GOGC=" + gogc() },
	},
	{
		name: "nginx", programs: []string{"nginx"}, can: []ability{forwarding, caching}, start: startNginx,
		settings: "log on",
		version:  func(ctx context.Context, _ *options) string { return versionOf(ctx, "nginx", "-v") },
	},
	{
		name: "haproxy", programs: []string{"haproxy"}, can: []ability{forwarding, caching}, start: startHAProxy,
		settings: "log on",
		version:  func(ctx context.Context, _ *options) string { return versionOf(ctx, "haproxy", "-v") },
	},
	{
		name: "varnish", programs: []string{"varnishd", "varnishncsa", "hitch"}, can: []ability{forwarding, caching}, start: startVarnish,
		settings: "behind hitch, logged by varnishncsa",
		version: func(ctx context.Context, _ *options) string {
			return versionOf(ctx, "varnishd", "-V") + " and hitch " + versionOf(ctx, "hitch", "--version")
		},
	},
	{
		name: "modsecurity", programs: []string{"nginx"}, files: []string{modSecurityModule, debianRules}, can: []ability{inspecting}, start: startModSecurity,
		settings: "in nginx, log on",
		version: func(ctx context.Context, _ *options) string {
			rules, _ := os.ReadFile(debianRules) // without them the peer is not here
			return versionOf(ctx, "nginx", "-v") + ", CRS " + firstVersion(string(rules))
		},
	},
	{
		name: "caddy", programs: []string{"caddy"}, can: []ability{forwarding}, start: startCaddy,
		settings: "log on", version: caddyVersion,
	},
}

// missing returns what of the peer is not on this machine.
func (p peer) missing() []string {
	var out []string
	for _, name := range p.programs {
		if _, err := exec.LookPath(name); err != nil {
			out = append(out, name)
		}
	}
	for _, name := range p.files {
		if _, err := os.Stat(name); err != nil {
			out = append(out, name)
		}
	}
	return out
}

// installed returns the peers to measure, and says of each that is left out why.
func (o *options) installed() (peers []peer, notes []string, err error) {
	for _, p := range o.peers {
		missing := strings.Join(p.missing(), ", ")
		switch {
		case missing == "":
			peers = append(peers, p)
		case o.named:
			return nil, nil, fmt.Errorf("%s: %s not found; `make bench-deps` installs the peers", p.name, missing)
		default:
			notes = append(notes, fmt.Sprintf("%s is not installed (%s); `make bench-deps` does it", p.name, missing))
		}
	}
	return peers, notes, nil
}

var numbered = regexp.MustCompile(`\d+(\.\d+)+\S*`)

// firstVersion returns the first thing in text that looks like a version.
func firstVersion(text string) string {
	return strings.TrimRight(numbered.FindString(text), ",;)")
}

// versionOf asks a program for its version; what cannot be read is said as it came.
func versionOf(ctx context.Context, program string, args ...string) string {
	output, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		return "unknown"
	}
	if v := firstVersion(string(output)); v != "" {
		return v
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(output)), "\n")
	return line
}

// ownVersion reads the first line of our own verb: "gatehouse  v1.2.3-4-gabcdef".
func ownVersion(ctx context.Context, o *options) string {
	output, err := exec.CommandContext(ctx, o.gatehouse, "version").Output()
	if f := strings.Fields(string(output)); err == nil && len(f) > 1 {
		return f[1]
	}
	return "unknown"
}

// caddyVersion reads what Go wrote into the binary: a caddy that was not built by its
// own tools does not know its version.
func caddyVersion(ctx context.Context, _ *options) string {
	if file, err := exec.LookPath("caddy"); err == nil {
		if info, err := buildinfo.ReadFile(file); err == nil && info.Main.Version != "" && info.Main.Version != "(devel)" {
			return info.Main.Version
		}
	}
	return versionOf(ctx, "caddy", "version")
}

func startGatehouse(ctx context.Context, b *bed, o *options) ([]*process, error) {
	conf, err := b.configure("gatehouse.yaml", b.settings)
	if err != nil {
		return nil, err
	}
	if _, err := b.configure("routes.yaml", b.settings, "conf.d", "routes.yaml"); err != nil {
		return nil, err
	}
	return serve(ctx, b, o, conf, plainHost)
}

// serve starts gatehouse and waits until it serves a host: it listens before it has
// read all of its routes.
func serve(ctx context.Context, b *bed, o *options, conf, host string) ([]*process, error) {
	p, err := b.start(ctx, report.Ours, peerCPU, oneWorker, o.gatehouse, "serve", "-c", conf)
	if err != nil {
		return nil, err
	}
	return []*process{p}, p.serves(ctx, b.settings.Plain, host)
}

func startNginx(ctx context.Context, b *bed, _ *options) ([]*process, error) {
	conf, err := b.configure("nginx.conf", b.settings)
	if err != nil {
		return nil, err
	}
	p, err := b.start(ctx, "nginx", peerCPU, nil, "nginx", "-p", b.dir, "-c", conf)
	return started(p, err)
}

func startModSecurity(ctx context.Context, b *bed, _ *options) ([]*process, error) {
	s := b.settings
	s.ModSecurity = modSecurityModule
	conf, err := b.configure("nginx.conf", s)
	if err != nil {
		return nil, err
	}
	if _, err := b.configure("modsecurity.conf", s); err != nil {
		return nil, err
	}
	p, err := b.start(ctx, "modsecurity", peerCPU, nil, "nginx", "-p", b.dir, "-c", conf)
	return started(p, err)
}

func startHAProxy(ctx context.Context, b *bed, _ *options) ([]*process, error) {
	conf, err := b.configure("haproxy.cfg", b.settings)
	if err != nil {
		return nil, err
	}
	// Its access log is what it says: a file, as with the others.
	p, err := b.start(ctx, "haproxy", peerCPU, nil, "haproxy", "-db", "-f", conf)
	return started(p, err)
}

func startVarnish(ctx context.Context, b *bed, _ *options) ([]*process, error) {
	vcl, err := b.configure("varnish.vcl", b.settings)
	if err != nil {
		return nil, err
	}
	conf, err := b.configure("hitch.conf", b.settings)
	if err != nil {
		return nil, err
	}
	work := filepath.Join(b.dir, "varnish")
	varnish, err := b.start(ctx, "varnish", peerCPU, nil, "varnishd", "-F", "-n", work, "-f", vcl, "-j", "none",
		"-a", b.settings.Plain.String()+",PROXY", "-s", "malloc,256m", "-p", "feature=+http2", "-p", "timeout_idle=900")
	out, err := started(varnish, err)
	if err != nil {
		return out, err
	}
	if err := varnish.listening(ctx, b.settings.Plain); err != nil {
		return out, err
	}
	log, err := b.start(ctx, "varnishncsa", peerCPU, nil, "varnishncsa", "-n", work, "-a", "-w", b.settings.Log)
	if err != nil {
		return out, err
	}
	out = append(out, log)
	hitch, err := b.start(ctx, "hitch", peerCPU, nil, "hitch", "--config="+conf)
	if err != nil {
		return out, err
	}
	return append(out, hitch), nil
}

func startCaddy(ctx context.Context, b *bed, _ *options) ([]*process, error) {
	conf, err := b.configure("Caddyfile", b.settings)
	if err != nil {
		return nil, err
	}
	p, err := b.start(ctx, "caddy", peerCPU, oneWorker, "caddy", "run", "--adapter", "caddyfile", "--config", conf)
	return started(p, err)
}

func started(p *process, err error) ([]*process, error) {
	if err != nil {
		return nil, err
	}
	return []*process{p}, nil
}

// A station is a peer that runs.
type station struct {
	peer
	bed       *bed
	options   *options
	processes []*process
}

// open starts a peer and waits until it accepts connections.
func (b *bed) open(ctx context.Context, p peer, o *options) (*station, error) {
	st := &station{peer: p, bed: b, options: o}
	// Nothing that an earlier process has stored.
	err := b.remove("data", "conf.d", "nginx-cache", "varnish")
	if err != nil {
		return nil, err
	}
	if st.processes, err = p.start(ctx, b, o); err == nil {
		err = st.processes[len(st.processes)-1].listening(ctx, b.settings.HTTPS)
	}
	if err != nil {
		return nil, errors.Join(err, st.close())
	}
	return st, nil
}

// close ends the peer, the process that was started last first, and removes its access
// log, which may be large.
func (st *station) close() error {
	for _, p := range slices.Backward(st.processes) {
		p.stop()
	}
	if st.bed.keep {
		return nil
	}
	return st.bed.remove("access.log", "haproxy.out")
}

// usage returns what all processes of the peer have used so far.
func (st *station) usage() (usage, error) {
	all, err := processes()
	if err != nil {
		return usage{}, err
	}
	var roots []int
	for _, p := range st.processes {
		if all[p.cmd.Process.Pid].state == 0 || all[p.cmd.Process.Pid].state == 'Z' {
			return usage{}, fmt.Errorf("%s has ended: %s", p.name, p.said())
		}
		roots = append(roots, p.cmd.Process.Pid)
	}
	return family(all, roots), nil
}
