package depstest

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// module is the path of our module; a package is named below it ("edge/waf").
const module = "gatehouse"

// A barrier says what a package must not reach, itself or through other packages of ours.
type barrier struct {
	from   string   // the package; with below also what lies below it
	below  bool     // from means everything below it too
	to     []string // packages of ours, each with what lies below it; "" is all of ours
	reason string
}

// A fence keeps a third-party module inside a few packages.
type fence struct {
	imports []string // import paths, each with what lies below it
	allowed []string // packages of ours, each with what lies below it
	// except are packages below the allowed ones that may not all the same.
	except []string
	// adapters also lets in packages whose own name begins so ("redis" lets in acme/rediscache).
	adapters string
	// tests are further packages that may use the module in their test files.
	tests  []string
	reason string
}

// A reserve is a package of ours that only few may import.
type reserve struct {
	imports  string
	below    bool // the packages below it too
	allowed  []string
	testOnly bool // test files of every package may import it
	reason   string
}

// engines are the parts that must work alone: each can be tested, read and
// replaced without the others.
var engines = []string{"cache", "acme", "edge/waf", "edge/balance", "edge/ratelimit"}

var barriers = append([]barrier{
	{
		from: "routes", to: []string{""},
		reason: "routes is the vocabulary that everything else speaks; it can depend on nobody who speaks it",
	},
	{
		from: "admin", below: true, to: []string{"edge", "cache", "acme"},
		reason: "admin names the one or two methods that it needs; only cmd/gatehouse knows who has them",
	},
	{
		from: "edge/wire", below: true, to: engines,
		reason: "what comes off a connection is read before anything is decided about it",
	},
	{
		from: "edge/upstream", below: true, to: engines,
		reason: "the round trip delivers; it does not decide",
	},
	{
		from: "edge/overload", below: true, to: []string{""},
		reason: "it says what has to be given up; those who give it up know it, never the other way round",
	},
	{
		from: "edge/health", below: true, to: engines,
		reason: "it says which backends are out of service, whoever chooses among them",
	},
	{
		from: "edge/compress", below: true, to: []string{"edge", "routes", "admin", "cache", "acme", "waf-rules"},
		reason: "it codes bodies and judges heads, whoever has them: an answer that passes, or a stored one",
	},
	{
		from: "edge/iplist", below: true, to: append([]string{"edge", "admin", "waf-rules"}, engines...),
		reason: "it says whether an address is in a set; what becomes of the client is the chain's business",
	},
	{
		from: "edge/waf/events", below: true, to: []string{"edge", "routes", "admin", "waf-rules"},
		reason: "it keeps what others found: who reads events must not need the engine that made them",
	},
	{
		from: "loadtest", below: true, to: []string{"edge", "cache", "acme", "routes", "admin"},
		reason: "it measures any server, and knows ours only through its front door",
	},
	{
		from: "waf-rules", below: true, to: []string{"edge", "cache", "acme", "routes", "admin"},
		reason: "rule text is data",
	},
}, engineBarriers()...)

func engineBarriers() []barrier {
	var out []barrier
	for _, e := range engines {
		others := slices.DeleteFunc(slices.Clone(engines), func(o string) bool { return o == e })
		out = append(out, barrier{
			from: e, below: true, to: others,
			reason: "two engines never know each other: edge joins them, in the order of the chain",
		})
	}
	return out
}

// networkClients must not be imported by routes itself: it parses and decides, it never dials.
var networkClients = []string{"net", "net/http", "net/rpc", "net/smtp", "crypto/tls"}

var reserves = []reserve{
	{
		imports: "edge", allowed: []string{"cmd/gatehouse"},
		reason: "only the place that wires the whole process may know the server",
	},
	{
		imports: "cmd", below: true, allowed: nil,
		reason: "a command is the end of the line",
	},
	{
		imports: "internal/edgetest", below: true, testOnly: true,
		allowed: []string{"internal/edgetest", "routes/routestest"},
		reason:  "faulty backends and throw-away certificate authorities have no place in the binary",
	},
	{
		imports: "routes/routestest", below: true, testOnly: true,
		allowed: nil,
		reason:  "the contract suite belongs to tests",
	},
	{
		imports: "waf-rules/crstest", testOnly: true,
		allowed: nil,
		reason:  "the rule set's tests are megabytes that no request needs",
	},
	{
		imports: "e2e", below: true, allowed: nil,
		reason: "black box: nobody leans on it",
	},
}

var fences = []fence{
	{
		imports: []string{"github.com/corazawaf/coraza/v3"}, allowed: []string{"edge/waf"}, except: []string{"edge/waf/events"},
		reason: "one shared, compiled ruleset with known traps: one place that knows them",
	},
	{
		imports: []string{"github.com/corazawaf/coraza-coreruleset"}, allowed: []string{"waf-rules"},
		reason: "rule text comes from one place, so that its version and digest are one",
	},
	{
		imports: []string{"github.com/dgraph-io/ristretto"}, allowed: []string{"cache"},
		reason: "ristretto keeps hashes, not keys; who forgets the comparison serves one tenant's page to another",
	},
	{
		imports: []string{"github.com/redis/go-redis"}, allowed: []string{"internal/redisconn"}, adapters: "redis",
		tests:  []string{"e2e", "internal/edgetest", "routes/routestest"},
		reason: "one client with the right timeouts, opened once; engines see an interface and never the network",
	},
	{
		imports: []string{"golang.org/x/crypto/acme"}, allowed: []string{"acme"},
		reason: "autocert does I/O under a global lock; only the issue worker may call it",
	},
	{
		imports: []string{"github.com/miekg/dns"}, allowed: []string{"acme/dnsupdate", "internal/edgetest"},
		reason: "it is there for signed updates of the DNS; whoever else looks up names does so with Go's resolver, which heeds what the machine is told",
	},
	{
		imports: []string{"github.com/valyala/fasthttp", "github.com/fasthttp/websocket"}, allowed: []string{"edge", "loadtest"},
		except: []string{"edge/waf/events", "edge/compress"},
		reason: "nothing of a RequestCtx survives its handler; whoever holds one must live in the chain",
	},
	{
		imports: []string{"golang.org/x/net/http2", "github.com/quic-go"}, allowed: []string{"edge", "loadtest"},
		tests:  []string{"e2e"},
		reason: "protocols are joined by one bridge; behind it there is one kind of request",
	},
	{
		imports: []string{"github.com/klauspost/compress"}, allowed: []string{"edge/compress"}, tests: []string{"edge"},
		reason: "zstd and gzip encoders hold a megabyte each, and zstd's start goroutines by default: one place pools and bounds them",
	},
	{
		imports: []string{"github.com/andybalholm/brotli"}, allowed: []string{"edge/compress"}, tests: []string{"edge"},
		reason: "brotli's encoders hold two megabytes each and come in levels that cost a hundred times as much as others: one place chose",
	},
	{
		imports: []string{"github.com/gaissmai/bart"}, allowed: []string{"edge/iplist"},
		reason: "its tables take IPv4 in the form of IPv6 for IPv6: whoever forgets to unmap lets a blocked client in",
	},
	{
		imports: []string{"github.com/spf13/cobra", "github.com/spf13/pflag"}, allowed: []string{"cmd/gatehouse"},
		reason: "a library that knows flags cannot be used without them",
	},
	{
		imports: []string{"go.uber.org/goleak"}, allowed: nil, tests: []string{""},
		reason: "a test dependency stays in tests",
	},
}

// A pkg is what the checks need to know of one package.
type pkg struct {
	Path    string   // below the module: "edge/waf"; "" is the module's root
	Imports []string // of its non-test files
	Tests   []string // of its test files, internal and external
}

// A violation is one import that the policy forbids.
type violation struct{ pkg, imports, reason string }

func (v violation) String() string {
	return fmt.Sprintf("%s imports %s: %s", v.pkg, v.imports, v.reason)
}

// check returns what in pkgs breaks the policy.
func check(pkgs []pkg) []violation {
	var out []violation
	graph := map[string][]string{}
	for _, p := range pkgs {
		for _, imp := range p.Imports {
			if own, ok := ours(imp); ok {
				graph[p.Path] = append(graph[p.Path], own)
			}
		}
	}
	for _, p := range pkgs {
		for _, b := range barriers {
			if in(p.Path, b.from, b.below) {
				out = append(out, b.check(p, graph)...)
			}
		}
		if p.Path == "routes" {
			for _, imp := range p.Imports {
				if slices.Contains(networkClients, imp) {
					out = append(out, violation{p.Path, imp, "routes parses and decides; it never dials"})
				}
			}
		}
		for _, f := range fences {
			out = append(out, f.check(p)...)
		}
		for _, r := range reserves {
			out = append(out, r.check(p)...)
		}
	}
	return out
}

// check looks for the forbidden packages among everything that p reaches.
func (b barrier) check(p pkg, graph map[string][]string) []violation {
	var out []violation
	seen := map[string]bool{p.Path: true}
	type step struct{ pkg, via string }
	queue := []step{}
	for _, next := range graph[p.Path] {
		queue = append(queue, step{next, module + "/" + next})
	}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		if seen[s.pkg] {
			continue
		}
		seen[s.pkg] = true
		for _, to := range b.to {
			if in(s.pkg, to, true) && !in(s.pkg, b.from, b.below) {
				out = append(out, violation{p.Path, s.via, b.reason})
			}
		}
		for _, next := range graph[s.pkg] {
			queue = append(queue, step{next, s.via + " → " + module + "/" + next})
		}
	}
	return out
}

func (f fence) check(p pkg) []violation {
	if f.lets(p.Path) || f.adapters != "" && strings.HasPrefix(path.Base(p.Path), f.adapters) {
		return nil
	}
	var out []violation
	see := func(imports []string) {
		for _, imp := range imports {
			if slices.ContainsFunc(f.imports, func(m string) bool { return in(imp, m, true) }) {
				out = append(out, violation{p.Path, imp, f.reason})
			}
		}
	}
	see(p.Imports)
	if !within(p.Path, f.tests) {
		see(p.Tests)
	}
	return out
}

// lets reports whether the package may use the module.
func (f fence) lets(path string) bool { return within(path, f.allowed) && !within(path, f.except) }

func (r reserve) check(p pkg) []violation {
	if within(p.Path, r.allowed) || in(p.Path, r.imports, r.below) {
		return nil
	}
	imports := slices.Clone(p.Imports)
	if !r.testOnly {
		imports = append(imports, p.Tests...)
	}
	var out []violation
	for _, imp := range imports {
		if own, ok := ours(imp); ok && in(own, r.imports, r.below) {
			out = append(out, violation{p.Path, imp, r.reason})
		}
	}
	return out
}

// ours returns an import path below our module.
func ours(imp string) (string, bool) {
	if imp == module {
		return "", true
	}
	return strings.CutPrefix(imp, module+"/")
}

// in reports whether p is root or, with below, lies below it; the root "" holds everything.
func in(p, root string, below bool) bool {
	return p == root || below && (root == "" || strings.HasPrefix(p, root+"/"))
}

func within(p string, roots []string) bool {
	return slices.ContainsFunc(roots, func(r string) bool { return in(p, r, true) })
}
