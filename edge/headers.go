package edge

import (
	"bytes"
	"slices"
	"strings"
)

// hopByHop are the fields that end at us (RFC 9110 §7.6.1), with those that the
// round trip writes itself.
var hopByHop = map[string]bool{
	"connection": true, "keep-alive": true, "proxy-connection": true, "proxy-authenticate": true,
	"proxy-authorization": true, "te": true, "trailer": true, "transfer-encoding": true, "upgrade": true,
	"http2-settings": true, "host": true, "content-length": true, "expect": true,
}

// rewritten are the fields that we write: a client's own never reach a backend.
var rewritten = map[string]bool{
	"x-forwarded-for": true, "x-forwarded-proto": true, "x-forwarded-host": true, "x-real-ip": true,
	"x-request-id": true,
}

// claims are the fields in which a proxy says who the client is or what it asked
// for: believed from trusted proxies, dropped from everybody else. Those that
// begin as claimPrefixes say are claims too.
var claims = map[string]bool{
	"forwarded": true, "x-client-ip": true, "client-ip": true, "true-client-ip": true, "cf-connecting-ip": true,
	"cf-connecting-ipv6": true, "fastly-client-ip": true, "x-cluster-client-ip": true, "x-remote-ip": true,
	"x-remote-addr": true, "x-remote-user": true, "remote-user": true, "x-originating-ip": true, "x-proxyuser-ip": true,
	"x-original-url": true, "x-original-uri": true, "x-original-host": true, "x-rewrite-url": true,
	"x-host": true, "x-http-host-override": true, "x-client-cert": true, "x-client-verify": true,
	"x-client-dn": true, "front-end-https": true, "x-url-scheme": true, "proxy": true,
}

var claimPrefixes = []string{"x-forwarded-", "x-ssl-", "ssl-client-", "x-real-"}

// dropped reports whether a field of the client stays here. lower is the name in
// lower case. A name with an underscore is dropped: CGI servers read it as the
// one with a hyphen, so X_Forwarded_For would be believed.
func (r *request) dropped(lower string) bool {
	if hopByHop[lower] || rewritten[lower] || strings.Contains(lower, "_") {
		return true
	}
	if strings.Contains(lower, ".") { // PHP reads a dot as an underscore, too
		lower = strings.ReplaceAll(lower, ".", "-")
		if rewritten[lower] {
			return true
		}
	}
	if r.PeerTrusted {
		return false
	}
	return claims[lower] || slices.ContainsFunc(claimPrefixes, func(prefix string) bool { return strings.HasPrefix(lower, prefix) })
}

// outboundHead returns the field lines of the request to the backend: the
// client's end-to-end fields in their order, and what we say of the client.
func (r *request) outboundHead(dst []byte) []byte {
	var listed []string // by Connection: hop-by-hop in this request
	for _, f := range r.Fields {
		if f.Is("connection") {
			for token := range strings.SplitSeq(string(f.Value), ",") {
				listed = append(listed, strings.ToLower(strings.Trim(token, " \t")))
			}
		}
	}
	var lower [64]byte
	for _, f := range r.Fields {
		name := appendLower(lower[:0], f.Name)
		if r.dropped(string(name)) || slices.Contains(listed, string(name)) {
			continue
		}
		dst = appendField(dst, f.Name, f.Value)
	}
	return r.appendForwarded(dst)
}

func (r *request) appendForwarded(dst []byte) []byte {
	peer := r.Peer.Addr().String()
	forwardedFor, host := peer, r.Host
	if r.PeerTrusted {
		var chain []string
		for _, f := range r.Fields {
			if f.Is("x-forwarded-for") {
				chain = append(chain, string(f.Value))
			}
		}
		forwardedFor = strings.Join(append(chain, peer), ", ")
		if h := r.value("x-forwarded-host"); h != "" {
			host = h
		}
	}
	for _, f := range [...]struct{ name, value string }{
		{"X-Forwarded-For", forwardedFor},
		{"X-Forwarded-Proto", r.Scheme},
		{"X-Forwarded-Host", host},
		{"X-Real-IP", r.Client.Addr().String()},
		{"X-Request-Id", r.ID},
		{"Via", viaProtocol + r.via}, // RFC 9110 §7.6.3; see selectVhost for the loop that it shows
	} {
		dst = append(append(append(append(dst, f.name...), ": "...), f.value...), "\r\n"...)
	}
	return dst
}

// viaProtocol is the received protocol in a Via field.
const viaProtocol = "1.1 "

// looped reports whether the request has been here before.
func (r *request) looped() bool {
	for _, f := range r.Fields {
		if f.Is("via") && listHas(string(f.Value), strings.ToLower(viaProtocol+r.via)) {
			return true
		}
	}
	return false
}

func appendField(dst, name, value []byte) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

func appendLower(dst, name []byte) []byte {
	if len(name) > cap(dst) {
		return bytes.ToLower(name)
	}
	for _, c := range name {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}
