package loadtest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Bounds of a Plan. A load that nobody ends would be an attack on the server.
const (
	MaxDuration    = time.Hour
	MaxConnections = 10_000    // clients, and times Streams
	MaxRate        = 1e6       // planned requests per second
	MaxTargets     = 1000      // rows of the mix; hosts behind a {host} do not count
	MaxHosts       = 100_000   // behind {host}
	MaxBody        = 64 << 20  // octets of one target
	MaxBodies      = 256 << 20 // of all targets together
	// MaxFilled bounds what clients hold of bodies with a {n} or {host}: each fills one of its own.
	MaxFilled = 1 << 30
)

// A Plan says what to send, how and for how long at most. Targets must be set; of
// all other fields the zero value is the default that stands with it. Run does not
// change a Plan, and two runs may share one.
type Plan struct {
	Targets []Target
	// Hosts are what {host} in a target stands for, each in its turn.
	Hosts []string

	// Rate is how many requests a second are planned: the open model. 0: closed.
	Rate float64
	// Connections is the number of clients; default 64. Each has one connection for
	// each server name (plain: for each address). Open: so many at most are busy.
	Connections int
	// Streams is how many requests a client has under way on its HTTP/2 connection; default 1.
	Streams int

	Duration time.Duration // of the measuring; default 10s, at most MaxDuration
	Warmup   time.Duration // before it; default none
	Requests int64         // end after so many as well; 0: only Duration ends it
	Timeout  time.Duration // of one request, connecting included; default 10s

	HTTP        string // "1.1" (default) or "2"
	TLS         string // of new connections: "full" (default) or "resumed"
	Curve       string // of the key exchange: "x25519", "p256", "x25519mlkem768"; "": Go's choice
	Handshakes  bool   // open and close connections, send nothing
	NoKeepAlive bool   // a connection for each request

	Roots    *x509.CertPool // who may sign certificates; nil: whom the system trusts
	Insecure bool           // take any certificate: of use against test servers only
	// Connect is the host:port to dial whatever the URLs say; "": what they say. The
	// URL's host stays server name and Host.
	Connect string
	// Public allows targets outside this machine. A load that the owner of the target
	// has not agreed to is an attack.
	Public bool

	SLOs []SLO
}

// A Target is one kind of request of the mix. In URL, the values of Header and Body
// {n} becomes a number of 16 digits that does not repeat, one for each request, and
// {host} one of Plan.Hosts.
type Target struct {
	URL    string
	Weight float64 // share of the mix; 0: 1
	Method string  // "": GET
	// Header replaces what is sent by default (Host, User-Agent, Accept) where the
	// names are equal; an empty value leaves the field out.
	Header []Field
	Body   []byte
	// Expect lists the statuses that count as good; empty: 200 to 399.
	Expect []int
}

// A Field is one header field.
type Field struct{ Name, Value string }

// ErrPlan is what errors are (errors.Is) whose cause is the plan, no server.
var ErrPlan = errors.New("the plan cannot be run")

type planError struct{ error }

func (e planError) Unwrap() error      { return e.error }
func (planError) Is(target error) bool { return target == ErrPlan }

func planf(format string, args ...any) error {
	return planError{fmt.Errorf(format, args...)}
}

// Curves are the names that Plan.Curve takes.
func Curves() []string { return []string{"x25519", "p256", "x25519mlkem768"} }

var curveIDs = map[string]tls.CurveID{
	"x25519": tls.X25519, "p256": tls.CurveP256, "x25519mlkem768": tls.X25519MLKEM768,
}

// Validate says what is wrong with the plan; its errors are ErrPlan. It looks at nothing
// outside of it: that a host exists and is on this machine, Run finds out.
func (p *Plan) Validate() error {
	_, err := p.compile(context.Background())
	return err
}

// withDefaults returns a copy in which nothing is left to be decided.
func (p *Plan) withDefaults() *Plan {
	q := *p
	if q.Connections == 0 {
		q.Connections = 64
	}
	if q.Streams == 0 {
		q.Streams = 1
	}
	if q.Duration == 0 {
		q.Duration = 10 * time.Second
	}
	if q.Timeout == 0 {
		q.Timeout = 10 * time.Second
	}
	if q.HTTP == "" {
		q.HTTP = "1.1"
	}
	if q.TLS == "" {
		q.TLS = "full"
	}
	return &q
}

// check looks at everything but the targets; p has its defaults.
func (p *Plan) check() error {
	switch {
	case len(p.Targets) == 0:
		return planf("no target")
	case len(p.Targets) > MaxTargets:
		return planf("%d targets: at most %d (many hosts fit one target: see {host})", len(p.Targets), MaxTargets)
	case len(p.Hosts) > MaxHosts:
		return planf("%d hosts: at most %d", len(p.Hosts), MaxHosts)
	case p.Connections < 1 || p.Connections > MaxConnections:
		return planf("connections: want 1 to %d", MaxConnections)
	case p.Streams < 1 || p.Streams*p.Connections > MaxConnections:
		return planf("streams: want 1 or more, and at most %d with all connections together", MaxConnections)
	case p.Duration < 0 || p.Duration > MaxDuration:
		return planf("duration: want more than 0 and at most %v", MaxDuration)
	case p.Warmup < 0 || p.Warmup > MaxDuration:
		return planf("warmup: want 0 to %v", MaxDuration)
	case p.Timeout < time.Millisecond || p.Timeout > MaxDuration:
		return planf("timeout: want 1ms to %v", MaxDuration)
	case p.Requests < 0:
		return planf("requests: want 1 or more")
	case !(p.Rate >= 0 && p.Rate <= MaxRate): // a NaN too
		return planf("rate: want more than 0 and at most %.0f a second", MaxRate)
	case p.TLS != "full" && p.TLS != "resumed":
		return planf("tls %q: want full or resumed", p.TLS)
	case p.Curve != "" && !slices.Contains(Curves(), p.Curve):
		return planf("curve %q: want %s", p.Curve, strings.Join(Curves(), ", "))
	}
	if err := p.checkBodies(); err != nil {
		return err
	}
	return p.checkProtocol()
}

// checkBodies bounds the memory of bodies before any of it is taken.
func (p *Plan) checkBodies() error {
	whole := 0
	for i := range p.Targets {
		t := &p.Targets[i]
		if len(t.Body) > MaxBody {
			return planf("%s: body: at most %d MiB", t.URL, MaxBody>>20)
		}
		if whole += len(t.Body); whole > MaxBodies {
			return planf("%s: with its body, those of all targets have more than %d MiB together", t.URL, MaxBodies>>20)
		}
		filled := bytes.Contains(t.Body, []byte(numberSlot)) || bytes.Contains(t.Body, []byte(hostSlot))
		if clients := p.Connections * p.Streams; filled && len(t.Body)*clients > MaxFilled {
			return planf("%s: each of %d requests under way would hold a body with {n} or {host} of %d MiB: at most %d MiB together",
				t.URL, clients, len(t.Body)>>20, MaxFilled>>20)
		}
	}
	return nil
}

func (p *Plan) checkProtocol() error {
	switch p.HTTP {
	case "1.1":
		if p.Streams > 1 {
			return planf("streams: only HTTP/2 has them")
		}
	case "2":
		if p.NoKeepAlive && p.Streams > 1 {
			return planf("streams: a connection for each request has one")
		}
	case "3":
		return planf("http 3: not supported yet")
	default:
		return planf("http %q: want 1.1 or 2", p.HTTP)
	}
	if p.Handshakes && p.Streams > 1 {
		return planf("streams: a load of handshakes has none")
	}
	return nil
}
