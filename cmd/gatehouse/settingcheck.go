package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gatehouse/edge/waf"
	"gatehouse/routes"
)

// check reports what is wrong with the values, each where it was given.
func (l *loader) check() {
	l.checkListen()
	l.checkPlaces()
	l.checkCertificates()
	l.checkWebhook()
	l.checkWords()
	l.checkLimits()
	l.checkProxyProtocol()
	for _, p := range l.cfg.Defaults.Check("") {
		l.fail("defaults."+p.Field, p.Reason, p.Guess)
	}
	if l.cfg.Defaults.Suspended != nil {
		l.fail(tenantsAlone, "only a tenant's or a vhost's document can say that: remove it", "")
	}
	l.checkShared()
	l.checkECH()
	l.checkAddresses()
	if b := l.cfg.Backends; len(b.Allow) > 0 && len(b.Deny) == 0 {
		l.fail("backends.allow", "it has exceptions to backends.deny, which denies nothing: name what is denied there", "")
	}
}

func (l *loader) checkListen() {
	listen := l.cfg.Listen
	seen := map[string]string{}
	for _, at := range []struct{ path, address string }{
		{"listen.http", listen.HTTP}, {"listen.https", listen.HTTPS}, {"listen.admin", listen.Admin},
	} {
		if at.address == "" {
			continue
		}
		if reason, guess := checkAddress(at.address); reason != "" {
			l.fail(at.path, reason, guess)
			continue
		}
		if other, taken := seen[at.address]; taken && !strings.HasSuffix(at.address, ":0") {
			l.fail(at.path, fmt.Sprintf("%s has the address %s already", other, at.address), "")
		}
		seen[at.address] = at.path
	}
	if listen.HTTP == "" && listen.HTTPS == "" {
		l.fail("listen", "both http and https are off: there is nothing to serve on", "")
	}
	if listen.PublicHTTPS < 1 || listen.PublicHTTPS > 65535 {
		l.fail("listen.public_https", "a port is 1 to 65535", "")
	}
}

// checkAddress returns what keeps address from being one to listen on.
func checkAddress(address string) (reason, guess string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		if _, err := strconv.ParseUint(address, 10, 16); err == nil {
			guess = ":" + address
		}
		return fmt.Sprintf(`bad address %q: want host:port or :port, such as ":8443"`, address), guess
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Sprintf("bad address %q: the port is a number up to 65535", address), ""
	}
	if host == "" {
		return "", ""
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return "", ""
	}
	if _, err := routes.CanonicalHost(host); err != nil || looksNumeric(host) {
		return fmt.Sprintf("bad address %q: %q is neither an address nor a host name", address, host), ""
	}
	return "", ""
}

// looksNumeric finds what was meant to be an IPv4 address and is none.
func looksNumeric(host string) bool {
	return strings.Trim(host, "0123456789.") == ""
}

func (l *loader) checkPlaces() {
	c := l.cfg
	if c.Data == "" {
		l.fail("data", "the node needs a folder for certificates and keys", "./data")
	}
	if strings.Trim(c.Node, nameBytes) != "" || c.Node == "" || len(c.Node) > 64 {
		l.fail("node", fmt.Sprintf("bad node name %q: want 1 to 64 letters, digits, dots, hyphens and underscores", c.Node), "")
	}
	if dir, file := c.RoutesDir(); file {
		if dir == "" {
			l.fail("routes", "the folder is missing", "file:conf.d")
		}
	} else if c.Routes == "" || !strings.Contains(c.Routes, ":") {
		l.fail("routes", "want file:DIR or a redis:// URL", "file:"+or(c.Routes, "conf.d"))
	} else if err := parseRedisURL(c.Routes); err != nil {
		l.fail("routes", err.Error(), "")
	}
	if c.Log.Access.To == "" {
		l.fail("log.access.to", "want stdout, stderr or a file", "stdout")
	}
}

const nameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

func (l *loader) checkCertificates() {
	const path = "certificates.acme."
	c := l.cfg.Certificates
	l.oneOf("certificates.issuer", c.Issuer, []string{"internal", "acme"})
	l.checkIssuer(path, c.ACME.Directory, c.ACME.Email, c.ACME.EAB)
	if f := c.ACME.Fallback; f != (Fallback{}) {
		l.checkIssuer(path+"fallback.", f.Directory, f.Email, f.EAB)
		if f.Directory == c.ACME.Directory {
			l.fail(path+"fallback.directory", "it is the first directory again", "")
		}
	}
	l.oneOf(path+"challenge", c.ACME.Challenge, []string{"auto", "http-01", "tls-alpn-01", "dns-01"})
	switch hook := c.ACME.DNSHook; {
	case hook == "" && c.ACME.DNSUpdate.Server == "" && c.ACME.Challenge == "dns-01":
		l.fail(path+"dns_hook", "dns-01 needs a program that publishes its records, or dns_update", "")
	case hook != "":
		if info, err := os.Stat(l.fromFile(path+"dns_hook", hook)); err != nil {
			l.fail(path+"dns_hook", unreadable(err), "")
		} else if info.IsDir() || info.Mode()&0o111 == 0 {
			l.fail(path+"dns_hook", "it is no program that may be run", "")
		}
	}
	l.checkDNSUpdate()
	if c.ACME.OrdersPerTenant < 0 {
		l.fail(path+"orders_per_tenant", fmt.Sprintf("bad number %d: want 0 (no bound) or more", c.ACME.OrdersPerTenant), "")
	}
}

// checkWebhook leaves the value out of what it says: it may be a secret.
func (l *loader) checkWebhook() {
	text := l.cfg.Certificates.Webhook
	if u, err := url.Parse(text); text != "" && (err != nil || u.Scheme != "https" || u.Hostname() == "") {
		l.fail("certificates.webhook", "bad URL: want https://host/path; it is told by POST", "")
	}
}

func (l *loader) checkIssuer(path, directory, email string, eab EAB) {
	if u, err := url.Parse(directory); err != nil || u.Scheme != "https" || u.Host == "" {
		guess := ""
		if rest, plain := strings.CutPrefix(directory, "http://"); plain {
			guess = "https://" + rest
		}
		l.fail(path+"directory", fmt.Sprintf("bad directory %q: want an https URL", directory), guess)
	}
	if email != "" && (!strings.Contains(email, "@") || strings.ContainsAny(email, " ,:<>")) {
		l.fail(path+"email", fmt.Sprintf("bad address %q: want one like ops@example.com", email), "")
	}
	if (eab.KID == "") != (eab.HMAC == "") {
		l.fail(path+"eab", "an external account binding has both kid and hmac", "")
	}
	plain := strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(eab.HMAC), "=")
	if _, err := base64.RawURLEncoding.DecodeString(plain); err != nil {
		l.fail(path+"eab.hmac", "not base64url", "") // the key itself stays out of messages
	}
}

// checkShared reports what keeps nodes from sharing anything.
func (l *loader) checkShared() {
	c := l.cfg
	if c.Redis != "" {
		if err := parseRedisURL(c.Redis); err != nil {
			l.fail("redis", err.Error(), "")
		}
	}
	l.checkRedisTLS()
	if len(c.SealKeys) == 0 {
		return
	}
	for i, text := range c.SealKeys {
		if path, is := strings.CutPrefix(text, "file:"); is {
			c.SealKeys[i] = "file:" + l.fromFile("seal_keys", path)
		}
	}
	if _, err := c.sealKeys(); err != nil {
		l.fail("seal_keys", err.Error(), "") // which tells no key
	} else if _, file := c.RoutesDir(); file && c.Redis == "" {
		l.fail("seal_keys", "they seal what nodes share in a Redis, and there is none: set redis", "")
	}
}

// fromFile is a path that a setting names, seen from the working folder.
func (l *loader) fromFile(setting, path string) string {
	if _, elsewhere := l.origin[setting]; elsewhere || l.cfg.File == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(l.cfg.File), path)
}

// gateWords are the values of waf.gate.
var gateWords = []string{waf.GateOn.String(), waf.GateShadow.String(), waf.GateOff.String()}

// switchWords are what other programs take for on and off.
var switchWords = map[string]string{"true": "on", "yes": "on", "1": "on", "false": "off", "no": "off", "0": "off"}

func (l *loader) checkWords() {
	c := l.cfg
	l.oneOf("waf.gate", c.WAF.Gate, gateWords)
	l.oneOf("compat", c.Compat, []string{"none"}, "hipache04", "hipache02", "concussionjs", "planb")
	l.oneOf("log.access.format", c.Log.Access.Format, []string{"combined", "json"}, "vcombined", "hipache")
	l.oneOf("log.level", c.Log.Level, []string{"debug", "info", "warn", "error"})
}

// checkCRS only looks whether there is such a folder; what is in it, the verbs say that need it.
func (l *loader) checkCRS() {
	dir, ok := l.cfg.CRSDir()
	if !ok {
		return
	}
	if dir == "" {
		l.fail("waf.crs", "want embedded, or a folder with a release of the CRS", embeddedCRS)
		return
	}
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = errors.New("it is not a folder")
	}
	if err != nil {
		l.fail("waf.crs", fmt.Sprintf("want embedded, or a folder with a release of the CRS: %s %s", dir, unreadable(err)),
			routes.Nearest(filepath.Base(dir), []string{embeddedCRS}))
	}
}

// oneOf checks an enumeration; the words of later are known but do not act yet.
func (l *loader) oneOf(path, value string, words []string, later ...string) {
	switch {
	case slices.Contains(words, value):
	case value != "" && slices.Contains(later, value):
		l.fail(path, fmt.Sprintf("%q is %v", value, routes.ErrNotSupportedYet), "")
	default:
		guess := routes.Nearest(value, words)
		if word := switchWords[value]; slices.Contains(words, word) {
			guess = word
		}
		l.fail(path, fmt.Sprintf("bad value %q: want %s", value, strings.Join(words, ", ")), guess)
	}
}
