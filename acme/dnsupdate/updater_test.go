package dnsupdate

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"gatehouse/internal/edgetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const challenge = "_acme-challenge.shop.test."

var secret = []byte("0123456789abcdef0123456789abcdef")

// acmeKey may change the zones.
func acmeKey(zones ...string) []edgetest.ZoneServerKey {
	return []edgetest.ZoneServerKey{{Name: "acme", Secret: secret, Zones: zones}}
}

// serve starts a server of zones that the key "acme" may change.
func serve(t *testing.T, records []string, zones ...string) *edgetest.ZoneServer {
	t.Helper()
	return edgetest.NewZoneServer(t, edgetest.ZoneServerOptions{Zones: zones, Records: records, Keys: acmeKey(zones...)})
}

// optionsFor are those for a server that is the whole DNS.
func optionsFor(s *edgetest.ZoneServer) Options {
	return Options{Server: s.Addr, Resolver: s.Addr, Nameservers: []string{s.Addr}, Key: Key{Name: "acme", Secret: secret}}
}

func newUpdater(t *testing.T, o Options) *Updater {
	t.Helper()
	u, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// A name and its wildcard have a record each at the same time, and each takes away its own only.
func TestRecordsOfOneNameStandSideBySide(t *testing.T) {
	t.Parallel()
	s := serve(t, []string{challenge + ` 60 IN TXT "somebody else's"`}, "shop.test.")
	u := newUpdater(t, optionsFor(s))
	var both sync.WaitGroup
	for _, value := range []string{"of-the-name", "of-the-wildcard"} {
		both.Go(func() {
			if err := u.Present(t.Context(), challenge, value); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	for _, step := range []struct {
		remove string
		left   []string
	}{
		{"", []string{"of-the-name", "of-the-wildcard", "somebody else's"}},
		{"of-the-name", []string{"of-the-wildcard", "somebody else's"}},
		{"of-the-name", []string{"of-the-wildcard", "somebody else's"}}, // once more is no error
		{"of-the-wildcard", []string{"somebody else's"}},
	} {
		if step.remove != "" {
			if err := u.CleanUp(t.Context(), challenge, step.remove); err != nil {
				t.Error(err)
			}
		}
		if got := s.TXT(challenge); !slices.Equal(got, step.left) {
			t.Errorf("after %q: %q, want %q", step.remove, got, step.left)
		}
	}
}

func TestZoneAndPlaceOfARecord(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		zones   []string
		records []string
		zone    string // of the settings
		at      string // where the record is; empty: it fails
		want    string // in the error
	}{
		"apex":                {zones: []string{"shop.test."}, at: challenge},
		"far below":           {zones: []string{"test."}, at: challenge},
		"the nearest zone":    {zones: []string{"test.", "shop.test."}, at: challenge},
		"told":                {zones: []string{"test.", "shop.test."}, zone: "Shop.test", at: challenge},
		"told another":        {zones: []string{"shop.test."}, zone: "blog.test", want: "is not in the zone blog.test.: set zone to"},
		"told one above":      {zones: []string{"shop.test."}, zone: "test", want: "is not the primary of the zone test."},
		"elsewhere":           {zones: []string{"blog.test."}, records: []string{"shop.test. 60 IN A 192.0.2.1"}, want: "has no zone that"},
		"given away":          {zones: []string{"test."}, records: []string{"shop.test. 60 IN NS ns.elsewhere.test."}, want: "has given shop.test. to other servers"},
		"delegated":           {zones: []string{"shop.test.", "acme.test."}, records: []string{challenge + " 60 IN CNAME Shop.ACME.test."}, at: "shop.acme.test."},
		"delegated twice":     {zones: []string{"shop.test.", "acme.test."}, records: []string{challenge + " 60 IN CNAME a.shop.test.", "a.shop.test. 60 IN CNAME a.acme.test."}, at: "a.acme.test."},
		"in a circle":         {zones: []string{"shop.test."}, records: []string{challenge + " 60 IN CNAME a.shop.test.", "a.shop.test. 60 IN CNAME " + challenge}, want: "lead in a circle: _acme-challenge.shop.test. → a.shop.test. → _acme-challenge.shop.test."},
		"without end":         {zones: []string{"shop.test."}, records: chain(mostAliases + 1), want: "more than 8 CNAMEs"},
		"long, not too long":  {zones: []string{"shop.test."}, records: chain(mostAliases - 1), at: "a7.shop.test."},
		"a wildcard's CNAME":  {zones: []string{"shop.test."}, records: []string{"*.shop.test. 60 IN CNAME front.elsewhere.test."}, at: challenge},
		"beside a wildcard's": {zones: []string{"shop.test."}, records: []string{"*.shop.test. 60 IN CNAME front.elsewhere.test.", challenge + " 60 IN CNAME a.shop.test."}, at: "a.shop.test."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := edgetest.NewZoneServer(t, edgetest.ZoneServerOptions{Zones: []string{"test."}, Records: tc.records})
			s := serve(t, tc.records, tc.zones...)
			o := optionsFor(s)
			o.Zone, o.Resolver = tc.zone, all.Addr
			u := newUpdater(t, o)
			err := u.Present(t.Context(), challenge, "v")
			if tc.at == "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), "dns update: ") {
					t.Errorf("%v; want %q", err, tc.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := s.TXT(tc.at); !slices.Equal(got, []string{"v"}) {
				t.Errorf("records at %s: %q", tc.at, got)
			}
			if err := u.CleanUp(t.Context(), challenge, "v"); err != nil || len(s.TXT(tc.at)) > 0 {
				t.Errorf("it is not taken away: %v", err)
			}
		})
	}
}

// chain is so many CNAMEs one after the other: a1, a2, ….
func chain(n int) []string {
	out := []string{challenge + " 60 IN CNAME a1.shop.test."}
	for i := 1; i < n; i++ {
		out = append(out, "a"+string(rune('0'+i))+".shop.test. 60 IN CNAME a"+string(rune('1'+i))+".shop.test.")
	}
	return out
}

func TestWhatKeepsServersFromChangingIsSaidInPlainWords(t *testing.T) {
	t.Parallel()
	code := func(rcode int) func(_, answer *dns.Msg) {
		return func(query, answer *dns.Msg) {
			if query.Opcode == dns.OpcodeUpdate {
				answer.Rcode = rcode
			}
		}
	}
	for name, tc := range map[string]struct {
		key    Key
		keys   []edgetest.ZoneServerKey // nil: it may
		alters func(query, answer *dns.Msg)
		want   string
	}{
		"another secret":    {key: Key{Name: "acme", Secret: []byte("no")}, want: `has another secret for the key "acme": set key to the server's`},
		"another key":       {key: Key{Name: "certs", Secret: secret}, want: `does not know the key "certs", or does not take it for this zone: set key_name and algorithm`},
		"another algorithm": {key: Key{Name: "acme", Algorithm: "hmac-sha512", Secret: secret}, want: "set key_name and algorithm"},
		"not its zone":      {keys: acmeKey("blog.test."), want: `refuses to change TXT records of _acme-challenge.shop.test. (REFUSED): let the key "acme" change them`},
		"not in the zone":   {alters: code(dns.RcodeNotZone), want: "is not in the zone shop.test. (NOTZONE): set zone"},
		"a secondary":       {alters: code(dns.RcodeNotAuth), want: "is not the primary of the zone shop.test., or does not take the key"},
		"takes none":        {alters: code(dns.RcodeNotImplemented), want: "takes no updates (NOTIMP): set server to the zone's primary"},
		"full disk":         {alters: code(dns.RcodeServerFailure), want: "cannot change the zone shop.test. (SERVFAIL): its log says why"},
		"another clock":     {alters: func(_, answer *dns.Msg) { signWith(answer, dns.RcodeBadTime, dns.RcodeNotAuth) }, want: "more than 300 seconds apart: set them right"},
		"unsigned answer":   {alters: func(_, answer *dns.Msg) { answer.Extra = nil }, want: `is not signed with the key "acme"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys := tc.keys
			if keys == nil {
				keys = acmeKey("shop.test.")
			}
			s := edgetest.NewZoneServer(t, edgetest.ZoneServerOptions{Zones: []string{"shop.test."}, Keys: keys, Alters: tc.alters})
			o := optionsFor(s)
			if tc.key.Name != "" {
				o.Key = tc.key
			}
			err := newUpdater(t, o).Present(t.Context(), challenge, "v")
			if err == nil || !strings.HasPrefix(err.Error(), "dns update: ") || !strings.Contains(err.Error(), s.Addr) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v; want %q", err, tc.want)
			}
		})
	}
}

// signWith has a server say that a signature is bad.
func signWith(answer *dns.Msg, signature uint16, rcode int) {
	if sig := answer.IsTsig(); sig != nil {
		sig.Error, answer.Rcode = signature, rcode
	}
}

// Whoever accepts connections and says nothing holds nobody up for longer than the bound, nor past the end of the context.
func TestSilentServerIsGivenUp(t *testing.T) {
	t.Parallel()
	silent := silentServer(t)
	zone := serve(t, nil, "shop.test.")
	for name, tc := range map[string]struct {
		Options
		want string
	}{
		"server":      {Options{Server: silent, Resolver: zone.Addr, Zone: "shop.test"}, "does not answer in time"},
		"resolver":    {Options{Server: zone.Addr, Resolver: silent}, "does not answer in time"},
		"name server": {Options{Server: zone.Addr, Resolver: zone.Addr, Nameservers: []string{silent}}, silent + " did not get it, or do not say so"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := tc.Options
			o.Key, o.Timeout = Key{Name: "acme", Secret: secret}, time.Second
			err := newUpdater(t, o).Present(t.Context(), challenge, name)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v", err)
			}
			if slices.Contains(zone.TXT(challenge), name) {
				t.Error("the record stays")
			}
			o.Timeout = time.Hour
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- newUpdater(t, o).Present(ctx, challenge, name) }()
			cancel()
			if err := <-done; err == nil {
				t.Error("it says that the record is there")
			}
		})
	}
}

// silentServer takes connections, and datagrams, and never answers.
func silentServer(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				_, _ = io.Copy(io.Discard, conn) // until the client leaves
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); conns.Wait() })
	return ln.Addr().String()
}

// A record is there when all name servers have it that answer at all.
func TestWaitsForTheZonesNameServers(t *testing.T) {
	t.Parallel()
	s := serve(t, []string{"ns1.shop.test. 60 IN A 127.0.0.1"}, "shop.test.")
	var asked atomic.Int32
	late := edgetest.NewZoneServer(t, edgetest.ZoneServerOptions{Of: s, Alters: func(_, answer *dns.Msg) {
		if asked.Add(1) < 3 {
			answer.Answer = nil
		}
	}})
	never := edgetest.NewZoneServer(t, edgetest.ZoneServerOptions{Of: s, Alters: func(_, answer *dns.Msg) { answer.Answer = nil }})
	lame := edgetest.NewZoneServer(t, edgetest.ZoneServerOptions{})
	for name, tc := range map[string]struct {
		servers []string
		want    string // in the error; empty: there is none
	}{
		"late":           {servers: []string{s.Addr, late.Addr}},
		"one is lame":    {servers: []string{lame.Addr, s.Addr}},
		"all are":        {servers: []string{lame.Addr}, want: "no name server of shop.test. says whether it has the record, set nameservers to those that do"},
		"one is behind":  {servers: []string{s.Addr, never.Addr}, want: never.Addr + " did not get it, or do not say so, within 2s: do transfers and notifies work?"},
		"gone, the rest": {servers: []string{s.Addr, "127.0.0.1:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := optionsFor(s)
			if o.Nameservers = tc.servers; name == "one is behind" {
				o.Timeout = 2 * time.Second
			}
			err := newUpdater(t, o).Present(t.Context(), challenge, name)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%v; want %q", err, tc.want)
			}
			if there := slices.Contains(s.TXT(challenge), name); there == (tc.want != "") {
				t.Errorf("the record is there: %v", there)
			}
		})
	}
	t.Run("of the NS records", func(t *testing.T) {
		u := newUpdater(t, Options{Server: s.Addr, Key: Key{Name: "acme", Secret: secret}})
		u.port = "1053"
		got, err := u.serversOf(t.Context(), "shop.test.")
		if err != nil || !slices.Equal(got, []string{"ns1.shop.test:1053"}) {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	good := Key{Name: "acme", Secret: secret}
	for want, o := range map[string]Options{
		"no server given":            {Key: good},
		`key name "" is no`:          {Server: "a:53", Key: Key{Secret: secret}},
		`algorithm "hmac-sha1"`:      {Server: "a:53", Key: Key{Name: "acme", Algorithm: "hmac-sha1", Secret: secret}},
		"the key has no secret":      {Server: "a:53", Key: Key{Name: "acme"}},
		`zone "a..b" is no domain n`: {Server: "a:53", Key: good, Zone: "a..b"},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

func TestParseKey(t *testing.T) {
	t.Parallel()
	const text = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	for name, tc := range map[string]struct {
		text string
		want Key
		err  string
	}{
		"secret":      {text: text + "\n", want: Key{Secret: secret}},
		"tsig-keygen": {text: "key \"acme\" {\n\talgorithm hmac-sha512;\n\tsecret \"" + text + "\";\n};\n", want: Key{Name: "acme", Algorithm: "hmac-sha512", Secret: secret}},
		"one line":    {text: "key acme. { secret " + text + "; algorithm HMAC-SHA256; };", want: Key{Name: "acme.", Algorithm: "hmac-sha256", Secret: secret}},
		"two keys":    {text: "key a { secret \"" + text + "\"; };\nkey b { }", err: "want one key"},
		"no secret":   {text: `key "a" { algorithm hmac-sha256; };`, err: "has no secret"},
		"half":        {text: `key "a" { algorithm`, err: "no key as tsig-keygen writes it"},
		"empty":       {text: " \n", err: "has no secret"},
		"words":       {text: "my secret!", err: "neither base64 nor"},
	} {
		got, err := ParseKey(tc.text)
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) || strings.Contains(err.Error(), "my secret") {
				t.Errorf("%s: %v; want %q", name, err, tc.err)
			}
			continue
		}
		if err != nil || got.Name != tc.want.Name || got.Algorithm != tc.want.Algorithm || string(got.Secret) != string(tc.want.Secret) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
