package edge

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"gatehouse/edge/waf"
	"gatehouse/edge/wire"
	"gatehouse/internal/octets"
	"gatehouse/routes"
)

// ErrNoVhost is what Probe and the makers of purges return, wrapped, for a host that no vhost answers for.
var ErrNoVhost = errors.New("no vhost answers")

// A Probe is a request that is shown to the WAF and goes nowhere.
type Probe struct {
	Method string // default GET, or POST with a body
	URL    string // absolute and as written: the host selects the vhost
	Proto  string // default HTTP/1.1
	// Fields without Host and Content-Length, which are made from URL and Body. With
	// a Transfer-Encoding there is no Content-Length, as on the wire.
	Fields [][2]string
	// Body without transfer coding. nil: there is none; empty: its length is said to be 0.
	Body   []byte
	Client netip.Addr // default 127.0.0.1
}

// A Finding is what becomes of a probe.
type Finding struct {
	Vhost, Tenant string
	Mode          string
	Profile       string // none, basic, strong or complete
	Apps          []string
	Paranoia      int
	Verdict       string // pass, detect (would be blocked) or block
	Status        int    // what a client would get of a block, else 0
	// BlockStatus is what a client would get in the mode block; 0: it would pass.
	BlockStatus int
	// Reason is why a request is refused that no rule refuses: it does not get past
	// the door, or a limit. Empty: none.
	Reason string
	// RefusedBy is the rule that refuses on its own, whatever the score, or would in the
	// mode block; 0: none.
	RefusedBy int
	// Score and Matches of a vhost whose WAF is off are those that the mode block would find.
	Score     int
	Threshold int
	Matches   []waf.Match
	Cut       bool // the body is longer than inspect_body, and its end was not looked at
}

// Probe runs a request through the same reading and the same inspection as a real
// one, with the settings of the vhost that would serve it, and then, unless that is its
// mode, once more in the mode block. Nothing is logged or counted as an event.
func (s *Server) Probe(p Probe) (*Finding, error) {
	_, authority, target, err := routes.SplitURL(p.URL)
	if err != nil {
		return nil, fmt.Errorf("bad URL %q: %w", p.URL, err)
	}
	host, err := routes.CanonicalHost(authority)
	if err != nil {
		return nil, fmt.Errorf("bad host in URL %q: %w", p.URL, err)
	}
	table := s.table.Load()
	if table == nil {
		return nil, errors.New("no routes have been loaded yet")
	}
	route := table.Match(host)
	if route == nil {
		return nil, fmt.Errorf("%w for %s", ErrNoVhost, host)
	}
	route, err = table.Below(route, target)
	if err != nil {
		return nil, fmt.Errorf("URL %q: %w: it would get 400", p.URL, err)
	}
	st, err := s.siteOf(route)
	if err != nil {
		return nil, err
	}
	if st.leaves(target) {
		return nil, fmt.Errorf("URL %q: its path leads out of the site: it would get 400", p.URL)
	}
	out := &Finding{
		Vhost: route.Name, Tenant: st.tenant, Mode: st.profile.Mode.String(),
		Paranoia: st.settings.WAF.Paranoia, Profile: st.settings.WAF.Profile, Apps: st.settings.WAF.Apps, Threshold: st.settings.WAF.InboundThreshold,
	}
	if err := s.try(p, host, st, out); err != nil {
		return nil, err
	}
	if st.profile.Mode == waf.Block {
		out.BlockStatus = out.Status
		return out, nil
	}
	blocking := site{name: st.name, tenant: st.tenant, owner: st.owner, meter: st.meter, settings: st.settings}
	blocking.profile.Like(&st.profile, waf.Block)
	inBlock := Finding{}
	if err := s.try(p, host, &blocking, &inBlock); err != nil {
		return nil, err
	}
	out.BlockStatus = inBlock.Status
	if st.profile.Mode == waf.Off {
		out.Score, out.Matches, out.RefusedBy, out.Cut = inBlock.Score, inBlock.Matches, inBlock.RefusedBy, inBlock.Cut
	}
	return out, nil
}

// try judges the probe with a site's settings and adds what is found to out.
func (s *Server) try(p Probe, host string, st *site, out *Finding) error {
	r, err := s.probeRequest(p, host)
	defer r.done()
	r.site = st
	if err == nil {
		err = s.judgeRequest(r)
		out.Cut = int64(len(p.Body)) > st.inspected() && r.waf != nil
	}
	if r.unseen || errors.Is(err, errNoTurn) {
		return errNoTurn
	}
	if r.waf != nil {
		if r.record.WAF.Verdict == "" { // refused before the rules had seen all of it
			r.recordWAF(r.waf.Verdict())
		}
		out.Score, out.Matches = r.record.WAF.Score, r.waf.Matches()
		by := r.waf.RefusedBy()
		for _, m := range out.Matches {
			if m.ID == by { // bookkeeping, which adds the score up, is not among them
				out.RefusedBy = by
			}
		}
	}
	out.Verdict = r.record.WAF.Verdict
	switch {
	case err != nil:
		refusal := asHTTPError(err)
		out.Verdict, out.Status = verdictBlock, refusal.status
		if r.waf == nil || r.waf.Verdict() == nil {
			out.Reason = refusal.reason
		}
	case out.Verdict == "": // mode off
		out.Verdict = verdictPass
	}
	return nil
}

// inspected is how many bytes of a body the WAF looks at.
func (st *site) inspected() int64 {
	if st.profile.InspectBody == 0 {
		return waf.DefaultInspectBody
	}
	return st.profile.InspectBody
}

// probeRequest makes the request that a connection would bring, or says why that
// would be refused.
func (s *Server) probeRequest(p Probe, host string) (*request, error) {
	client := p.Client
	if !client.IsValid() {
		client = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	scheme, authority, target, err := routes.SplitURL(p.URL)
	r := &request{
		ID: s.newID(), Start: time.Now(), Scheme: scheme, RawHost: authority, Host: host, Method: p.Method, Target: target,
		Client: netip.AddrPortFrom(client, 0), ClientText: client.String(), body: &requestBody{}, log: s.log, srv: s, probe: true,
	}
	r.Peer = r.Client
	r.body.reset(nil, 0, 0, nil)
	if err != nil {
		return r, err
	}
	h := wire.ReadHead(p.head(authority, target), s.opts.Limits.wire())
	r.Method, r.Target, r.Proto, r.Fields, r.Upgrade = h.Method, h.Target, h.Proto, h.Fields, h.Upgrade
	if h.Refused != nil {
		return r, refused(h.Refused)
	}
	if h.Length != 0 {
		r.body.reset(bytes.NewReader(p.Body), h.Length, s.opts.Limits.Body, nil)
		if most := s.opts.Limits.Body; most > 0 && h.Length > most {
			return r, errBodyTooLarge
		}
	}
	return r, nil
}

// head writes the probe's head as it would come.
func (p Probe) head(authority, target string) []byte {
	method, proto := p.Method, p.Proto
	if method == "" {
		method = "GET"
		if len(p.Body) > 0 {
			method = "POST"
		}
	}
	if proto == "" {
		proto = "HTTP/1.1"
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "%s %s %s\r\nHost: %s\r\n", method, target, proto, authority)
	coded := false
	for _, f := range p.Fields {
		coded = coded || octets.Is([]byte(f[0]), "transfer-encoding")
		fmt.Fprintf(&text, "%s: %s\r\n", f[0], f[1])
	}
	if p.Body != nil && !coded {
		fmt.Fprintf(&text, "Content-Length: %d\r\n", len(p.Body))
	}
	_, _ = io.WriteString(&text, "\r\n") // a buffer takes everything
	return text.Bytes()
}
