package edge

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"gatehouse/edge/waf"
	"gatehouse/routes"
)

// A Probe is a request that is shown to the WAF and goes nowhere.
type Probe struct {
	Method string // default GET, or POST with a body
	URL    string // absolute: the host selects the vhost
	Fields [][2]string
	Body   []byte
	Client netip.Addr // default 127.0.0.1
}

// A Finding is what the WAF says of a probe.
type Finding struct {
	Vhost, Tenant string
	Mode          string
	Paranoia      int
	Verdict       string // pass, detect (would be blocked) or block
	Status        int    // what a client would get of a block, else 0
	Score         int
	Threshold     int
	Matches       []waf.Match
	Cut           bool // the body was longer than inspect_body
}

// Probe runs a request through the same inspection as a real one, with the
// settings of the vhost that would serve it. Nothing is logged or counted.
func (s *Server) Probe(p Probe) (*Finding, error) {
	r, err := s.probeRequest(p)
	if err != nil {
		return nil, err
	}
	defer r.done()
	table := s.table.Load()
	if table == nil {
		return nil, errors.New("no routes have been loaded yet")
	}
	route := table.Match(r.Host)
	if route == nil {
		return nil, fmt.Errorf("no vhost answers for %s", r.Host)
	}
	if r.site, err = s.siteOf(route); err != nil {
		return nil, err
	}
	out := &Finding{
		Vhost: route.Name, Tenant: r.site.tenant, Mode: r.site.profile.Mode.String(),
		Paranoia: r.site.settings.WAF.Paranoia, Threshold: r.site.settings.WAF.InboundThreshold,
	}
	out.Cut = int64(len(p.Body)) > int64(r.site.settings.WAF.InspectBody)
	refused := s.judgeRequest(r)
	if r.waf == nil && refused == nil { // mode off
		out.Verdict = verdictPass
		return out, nil
	}
	out.Verdict, out.Score, out.Matches = r.record.WAF.Verdict, r.record.WAF.Score, r.waf.Matches()
	if out.Verdict == "" {
		out.Verdict = verdictPass
	}
	if refused != nil {
		out.Status = asHTTPError(refused).status
	}
	return out, nil
}

func (s *Server) probeRequest(p Probe) (*request, error) {
	u, err := url.Parse(p.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("bad URL %q: want http://host/path or https://host/path", p.URL)
	}
	host, err := routes.CanonicalHost(u.Host)
	if err != nil {
		return nil, fmt.Errorf("bad host in URL %q: %w", p.URL, err)
	}
	_, afterScheme, _ := strings.Cut(p.URL, "://")
	target := "/"
	if i := strings.IndexAny(afterScheme, "/?"); i >= 0 {
		target = afterScheme[i:] // as typed: an attack must not be tidied up
	}
	target, _, _ = strings.Cut(target, "#")
	if !strings.HasPrefix(target, "/") {
		target = "/" + target
	}
	client := p.Client
	if !client.IsValid() {
		client = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	r := &request{
		ID: s.newID(), Start: time.Now(), Proto: "HTTP/1.1", Method: p.Method, Target: target,
		RawHost: u.Host, Host: host, Scheme: u.Scheme, Client: netip.AddrPortFrom(client, 0), ClientText: client.String(), body: &requestBody{}, log: s.log,
	}
	r.Peer = r.Client
	if r.Method == "" {
		r.Method = "GET"
		if len(p.Body) > 0 {
			r.Method = "POST"
		}
	}
	r.Fields = append(r.Fields, field{Name: []byte("Host"), Value: []byte(u.Host)})
	for _, f := range p.Fields {
		r.Fields = append(r.Fields, field{Name: []byte(f[0]), Value: []byte(f[1])})
	}
	r.body.reset(nil, 0, 0, nil)
	if len(p.Body) > 0 {
		r.Fields = append(r.Fields, field{Name: []byte("Content-Length"), Value: fmt.Appendf(nil, "%d", len(p.Body))})
		r.body.reset(bytes.NewReader(p.Body), int64(len(p.Body)), 0, nil)
	}
	return r, nil
}
