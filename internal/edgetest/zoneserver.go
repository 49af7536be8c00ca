package edgetest

import (
	"encoding/base64"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// ZoneServerKey is a TSIG key (RFC 8945) that a ZoneServer knows.
type ZoneServerKey struct {
	Name   string // without its last dot
	Secret []byte
	Zones  []string // that it may change, as in ZoneServerOptions; nil: none
}

// ZoneServerOptions say what a ZoneServer has.
type ZoneServerOptions struct {
	Zones   []string        // that it is the primary of: "shop.test."; each has SOA and NS records
	Records []string        // more of them, as a zone file has them
	Keys    []ZoneServerKey // hmac-sha256
	Of      *ZoneServer     // it answers with the records of that one, has none itself, and takes no updates: a secondary
	Alters  func(query, answer *dns.Msg)
}

// A ZoneServer is an authoritative name server on loopback, over UDP and TCP, that takes updates (RFC 2136) which are signed with one of its
// keys. It is far from complete: prerequisites and what deletes whole RRsets are refused with FORMERR. For names that it has no zone of it
// says REFUSED. It follows CNAMEs in its zones, so that it will do as a resolver of its own names.
type ZoneServer struct {
	Addr string

	opts ZoneServerOptions

	mu      sync.Mutex
	records []dns.RR
	updates int
}

// NewZoneServer starts one, which ends with the test.
func NewZoneServer(t testing.TB, opts ZoneServerOptions) *ZoneServer {
	t.Helper()
	s := &ZoneServer{opts: opts}
	for _, zone := range opts.Zones {
		opts.Records = append(opts.Records, zone+" 60 IN SOA ns1."+zone+" root."+zone+" 1 60 60 60 60", zone+" 60 IN NS ns1."+zone)
	}
	for _, text := range opts.Records {
		rr, err := dns.NewRR(text)
		must(t, "read the record "+text, err)
		s.records = append(s.records, rr)
	}
	secrets := map[string]string{}
	for _, k := range opts.Keys {
		secrets[k.Name+"."] = base64.StdEncoding.EncodeToString(k.Secret)
	}
	ln, packets := listenDNS(t)
	s.Addr = ln.Addr().String()
	var serving sync.WaitGroup
	servers := []*dns.Server{{Listener: ln, TsigSecret: secrets}, {PacketConn: packets, TsigSecret: secrets}}
	for _, server := range servers {
		up := make(chan struct{})
		server.NotifyStartedFunc = func() { close(up) }
		server.Handler = dns.HandlerFunc(s.serve)
		server.MsgAcceptFunc = func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }
		serving.Go(func() {
			if err := server.ActivateAndServe(); err != nil && !errors.Is(err, net.ErrClosed) {
				t.Errorf("edgetest: name server: %v", err)
			}
		})
		<-up
	}
	t.Cleanup(func() {
		for _, server := range servers {
			must(t, "stop a name server", server.Shutdown())
		}
		serving.Wait()
	})
	return s
}

// TXT returns the texts of a name's TXT records, sorted.
func (s *ZoneServer) TXT(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []string{}
	for _, rr := range s.records {
		if txt, ok := rr.(*dns.TXT); ok && txt.Hdr.Name == name {
			out = append(out, strings.Join(txt.Txt, ""))
		}
	}
	slices.Sort(out)
	return out
}

// Updates returns how many updates were made.
func (s *ZoneServer) Updates() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.updates
}

func (s *ZoneServer) serve(w dns.ResponseWriter, query *dns.Msg) {
	answer := new(dns.Msg).SetReply(query)
	switch {
	case len(query.Question) != 1:
		answer.Rcode = dns.RcodeFormatError
	case query.Opcode == dns.OpcodeUpdate:
		answer.Rcode = s.update(query, answer, w.TsigStatus())
	default:
		holder := s
		if s.opts.Of != nil {
			holder = s.opts.Of
		}
		holder.answer(query.Question[0], answer)
	}
	if s.opts.Alters != nil {
		s.opts.Alters(query, answer)
	}
	_ = w.WriteMsg(answer) // the client may have left
}

// update makes a change and signs the answer; it returns the response code.
func (s *ZoneServer) update(query, answer *dns.Msg, signed error) int {
	zone := dns.CanonicalName(query.Question[0].Name)
	sig := query.IsTsig()
	if sig == nil {
		return dns.RcodeRefused
	}
	i := slices.IndexFunc(s.opts.Keys, func(k ZoneServerKey) bool { return k.Name+"." == sig.Hdr.Name })
	if i < 0 || signed != nil || sig.Algorithm != dns.HmacSHA256 {
		// RFC 8945 section 5.3.2: these answers are not signed.
		code := uint16(dns.RcodeBadSig)
		if i < 0 || sig.Algorithm != dns.HmacSHA256 {
			code = dns.RcodeBadKey
		}
		answer.Extra = append(answer.Extra, &dns.TSIG{
			Hdr: dns.RR_Header{Name: sig.Hdr.Name, Rrtype: dns.TypeTSIG, Class: dns.ClassANY}, Algorithm: sig.Algorithm,
			TimeSigned: sig.TimeSigned, Fudge: sig.Fudge, OrigId: query.Id, Error: code,
		})
		return dns.RcodeNotAuth
	}
	answer.SetTsig(sig.Hdr.Name, sig.Algorithm, sig.Fudge, int64(sig.TimeSigned))
	switch {
	case !slices.Contains(s.opts.Zones, zone):
		return dns.RcodeNotAuth
	case !slices.Contains(s.opts.Keys[i].Zones, zone):
		return dns.RcodeRefused
	case len(query.Answer) > 0:
		return dns.RcodeFormatError
	}
	for _, rr := range query.Ns {
		if !dns.IsSubDomain(zone, rr.Header().Name) {
			return dns.RcodeNotZone
		}
	}
	return s.change(query.Ns)
}

func (s *ZoneServer) change(records []dns.RR) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.updates++
	for _, rr := range records {
		same := func(other dns.RR) bool { return dns.IsDuplicate(rr, other) }
		switch h := rr.Header(); h.Class {
		case dns.ClassINET:
			if !slices.ContainsFunc(s.records, same) {
				s.records = append(s.records, rr)
			}
		case dns.ClassNONE:
			h.Class = dns.ClassINET
			s.records = slices.DeleteFunc(s.records, same)
		default:
			return dns.RcodeFormatError
		}
	}
	return dns.RcodeSuccess
}

// answer answers a question.
func (s *ZoneServer) answer(q dns.Question, answer *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answerFor(dns.CanonicalName(q.Name), q.Qtype, answer)
}

// answerFor answers for a name, and for where its CNAME leads (RFC 1034 section 4.3.2). A wildcard's records are those of all names in its
// zone that have none.
func (s *ZoneServer) answerFor(name string, kind uint16, answer *dns.Msg) {
	zone := ""
	for _, z := range s.opts.Zones {
		if dns.IsSubDomain(z, name) && len(z) > len(zone) {
			zone = z
		}
	}
	if zone == "" {
		if len(answer.Answer) == 0 {
			answer.Rcode = dns.RcodeRefused
		}
		return
	}
	if s.referred(zone, name, answer) {
		return
	}
	answer.Authoritative = true
	owner, before := name, len(answer.Answer)
	known := s.find(owner, name, kind, answer)
	for at := name; !known && at != zone; {
		_, at, _ = strings.Cut(at, ".")
		owner = "*." + at
		known = s.find(owner, name, kind, answer)
	}
	switch {
	case !known:
		answer.Rcode = dns.RcodeNameError
	case len(answer.Answer) > before || before >= mostAliases:
	case s.find(owner, name, dns.TypeCNAME, answer) && len(answer.Answer) > before:
		s.answerFor(dns.CanonicalName(answer.Answer[before].(*dns.CNAME).Target), kind, answer)
		return
	}
	if len(answer.Answer) == before {
		none := new(dns.Msg)
		s.find(zone, zone, dns.TypeSOA, none)
		answer.Ns = none.Answer
	}
}

// mostAliases ends circles.
const mostAliases = 8

// find puts the records of owner into an answer, under a name. It reports whether there are any, of whatever type.
func (s *ZoneServer) find(owner, name string, kind uint16, answer *dns.Msg) (known bool) {
	for _, rr := range s.records {
		if h := rr.Header(); h.Name == owner {
			known = true
			if h.Rrtype == kind {
				rr = dns.Copy(rr)
				rr.Header().Name = name
				answer.Answer = append(answer.Answer, rr)
			}
		}
	}
	return known
}

// referred tells of the servers that a part of the zone is given to.
func (s *ZoneServer) referred(zone, name string, answer *dns.Msg) bool {
	for _, rr := range s.records {
		if h := rr.Header(); h.Rrtype == dns.TypeNS && h.Name != zone && dns.IsSubDomain(zone, h.Name) && dns.IsSubDomain(h.Name, name) {
			answer.Ns = append(answer.Ns, rr)
		}
	}
	return len(answer.Ns) > 0
}
