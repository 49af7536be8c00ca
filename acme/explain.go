package acme

import (
	"regexp"
	"strings"
	"time"
)

// Explain says in plain words, with what to do about it, why an order for name failed. text is the error's: it may come from another node, so
// there is nothing else to go by. next is when it is tried again; zero: not known. What is not known here is returned as it is, on one line. Where
// the order was for several names, and failed for others than name, it says for which.
func Explain(name, text string, next time.Time) string {
	who, part := blamed(name, text)
	switch who {
	case "":
		return explain(name, text, next)
	case name:
		return explain(name, part, next)
	}
	return "waits for " + who + ", which is in the same certificate: " + explain(who, part, next)
}

// blame finds the name in what validationError and answer write, at the first place of a line.
var blame = regexp.MustCompile(`(?m)^.*?(?:(\S+) was not validated: |(?:http-01|tls-alpn-01|dns-01) for (\S+): |the issuer refuses (\S+): |offers no \S+ for (\S+))`)

// blamed returns the name that an order failed for, and what text says of it: name itself if it is among them, else the first; empty: the text
// blames none.
func blamed(name, text string) (who, part string) {
	found := blame.FindAllStringSubmatchIndex(text, -1)
	for n, at := range found {
		end := len(text)
		if n+1 < len(found) {
			end = found[n+1][0]
		}
		group := func(k int) string {
			if at[2*k] < 0 {
				return ""
			}
			return text[at[2*k]:at[2*k+1]]
		}
		if this := group(1) + group(2) + group(3) + group(4); this == name || who == "" {
			who, part = this, text[at[0]:end]
		}
	}
	return who, part
}

func explain(name, text string, next time.Time) string {
	low := strings.ToLower(text)
	for _, p := range orderProblems {
		if p.holds(low) {
			return strings.NewReplacer(
				"{name}", name, "{base}", strings.TrimPrefix(name, "*."), "{when}", retryTime(text, next), "{detail}", detailOf(text, p.detail),
			).Replace(p.says)
		}
	}
	return oneLine(strings.TrimPrefix(text, "acme: "), mostDetail)
}

// An orderProblem is one that operators know.
type orderProblem struct {
	all    []string // parts that the text has, in small letters
	any    []string // of these it has one; nil: it need not
	says   string   // {name}, {base} (without "*."), {when}, {detail}
	detail string   // {detail} is what follows this in the text; empty: the whole
}

func (p *orderProblem) holds(low string) bool {
	for _, part := range p.all {
		if !strings.Contains(low, part) {
			return false
		}
	}
	for _, part := range p.any {
		if strings.Contains(low, part) {
			return true
		}
	}
	return p.any == nil
}

const notValidated = "was not validated"

// noConnection is how the ways to reach nobody are written.
var noConnection = []string{
	"connection refused", "timeout", "timed out", "connection reset", "no route to host", "network is unreachable", "deadline exceeded", "connection: ",
	"error getting validation data", " eof",
}

// wrongAnswer is how an answer that is not ours is called.
var wrongAnswer = []string{": unauthorized: ", ": incorrectresponse: "}

const (
	otherServer = "another server answers for {name}: does its DNS (A and AAAA) lead here, does something in front keep /.well-known/acme-challenge/ to itself? ({detail})"
	otherAtTLS  = "another server answers for {name} at port 443: does its DNS (A and AAAA) lead here, does something in front end TLS? " +
		"Then set certificates.acme.challenge: http-01"
)

// orderProblems are looked through in order: the more exact ones come first.
var orderProblems = []orderProblem{
	{
		all:  []string{"name of one label"},
		says: "no issuer certifies {name}, a name without a dot: give the site a whole name, or its own certificate files",
	},
	{
		all:  []string{"no use of its account key", "seal_keys"},
		says: "this node cannot open the account key that the nodes share: give it the seal_keys that the other nodes have; it orders nothing until then",
	},
	{
		all: []string{"no use of its account key"}, detail: "no use of its account key: ",
		says: "this node cannot read or keep its account key, and orders nothing until it can: {detail}",
	},
	{
		all:  []string{"orders_per_tenant"},
		says: "the tenant has ordered as many certificates as certificates.acme.orders_per_tenant allows in three hours: tried again {when}; raise it if that is too few",
	},
	{
		any:  []string{"other nodes cannot be asked", "not known what other nodes have tried"},
		says: "nothing is ordered while the Redis that nodes share does not answer: see gatehouse health; tried again {when}",
	},
	{
		all:  []string{"without anybody knowing how"},
		says: "three attempts for {name} within an hour were cut off, by restarts of nodes for one: tried again {when}, since issuers count them; see the log for what ends nodes",
	},
	{
		all:  []string{"lacked a name of the one before"},
		says: "each of the last three certificates for {name} within an hour was ordered without a name of the one before: have all nodes the same names for the vhost? Tried again {when}",
	},
	{
		all: []string{"the attempt cannot be noted"}, detail: "noted: ",
		says: "nothing is ordered while what was tried cannot be noted: is the disk full, does the Redis that nodes share take writes? ({detail})",
	},
	{
		all: []string{"dns hook "}, detail: "dns hook ",
		says: "the program of certificates.acme.dns_hook failed: {detail}; try it by hand: PROGRAM present _acme-challenge.{base}. test",
	},
	{
		all:  []string{"dns-01 needs a hook"},
		says: "{name} needs dns-01, and there is no program for that: set certificates.acme.dns_hook, or certificates.acme.challenge",
	},
	{
		all: []string{"dns-01: "}, any: []string{"looking up txt", "txt record"},
		says: "the issuer does not see the TXT record at _acme-challenge.{base}: is it in the zone that the DNS asks, and does certificates.acme.dns_hook wait until all its servers have it?",
	},
	// What follows "unauthorized" is what a server said, and may be anything: so these come early.
	{all: []string{notValidated, "tls-alpn-01"}, any: wrongAnswer, says: otherAtTLS},
	{all: []string{notValidated}, any: wrongAnswer, detail: notValidated + ": ", says: otherServer},
	{
		any:  []string{"externalaccountrequired", "external account"},
		says: "the issuer wants an external account binding, or does not know the one it gets: set certificates.acme.eab.kid and .hmac as it gave them to you",
	},
	{
		any: []string{"invalidcontact", "invalidemail", "unsupportedcontact"}, detail: "acme:error:",
		says: "the issuer does not take certificates.acme.email: {detail}",
	},
	{
		any: []string{"invalidprofile"}, detail: "acme:error:",
		says: "the issuer has no such profile: set certificates.acme.profile to one that its directory names, or leave it out ({detail})",
	},
	{
		all:  []string{"wants no orders before"},
		says: "the issuer takes no more orders for now (rate limit): left alone until {when}",
	},
	{
		any:  []string{"ratelimited", "429 "},
		says: "the issuer takes no more orders for {name} for now (rate limit): tried again {when}; to try more often makes it last longer",
	},
	{
		any: []string{"rejectedidentifier"}, detail: "acme:error:",
		says: "the issuer does not certify {name}: {detail}",
	},
	{
		all: []string{"the issuer cannot be reached"}, any: []string{"x509: "}, detail: "x509: ",
		says: "the issuer's own TLS certificate is not trusted: name its root in certificates.acme.trust ({detail})",
	},
	{
		all: []string{"the issuer cannot be reached"}, any: []string{"serverinternal", ": 500 ", ": 502 ", ": 503 ", ": 504 "}, detail: "acme:error:",
		says: "the issuer has a fault of its own: tried again {when} ({detail})",
	},
	{
		all: []string{"the issuer cannot be reached"}, detail: "the issuer cannot be reached: ",
		says: "the issuer cannot be reached: may this node connect to it, is certificates.acme.directory right? ({detail})",
	},
	{
		any: []string{`post "https://`, `head "https://`}, detail: `https://`,
		says: "the issuer cannot be reached, or does not answer in time: tried again {when} ({detail})",
	},
	{
		any:  []string{"servfail", "server failure", "refused looking up", "timed out looking up", "dnssec"},
		says: "the name servers of {name} do not answer the issuer as they should: check the zone, and DNSSEC if it is signed",
	},
	{
		any:  []string{"nxdomain", "no such host", "no valid ip address", "no valid a record", "no a or aaaa", ": dns: "},
		says: "{name} is not in the DNS: add an A or AAAA record that leads here",
	},
	{
		any:  []string{"caa record", "caa: ", "error:caa", "caa forbids"},
		says: `a CAA record forbids this issuer for {name}: add one that names it, such as: CAA 0 issue "letsencrypt.org"`,
	},
	{
		all: []string{notValidated, "tls-alpn-01"}, any: noConnection,
		says: "the issuer cannot reach {name} at port 443: does its DNS lead here, is port 443 open?",
	},
	{all: []string{notValidated, "tls-alpn-01"}, says: otherAtTLS},
	{
		all: []string{notValidated}, any: noConnection,
		says: "the issuer cannot reach http://{name}/: does its DNS lead here, is port 80 open?",
	},
	{any: []string{notValidated, "incorrectresponse"}, detail: notValidated + ": ", says: otherServer},
	{
		all: []string{"acme:error:unauthorized"}, detail: "acme:error:unauthorized: ",
		says: "the issuer does not accept this node's account: {detail}",
	},
	{
		all:  []string{"the issuer offers no "},
		says: "the issuer does not validate {name} the way that certificates.acme.challenge says: set another, or auto",
	},
	{
		any: []string{"serverinternal", "500 ", "502 ", "503 "}, detail: "acme:error:",
		says: "the issuer has a fault of its own: tried again {when} ({detail})",
	},
}

// mostDetail bounds what is shown of an error as it came, in bytes.
const mostDetail = 300

// mostReason bounds why a name was not validated, in bytes: the issuer's words, and the type of challenge before them.
const mostReason = mostDetail + 100

// detailOf is what follows the last mark in text, on one line.
func detailOf(text, mark string) string {
	if mark != "" {
		if i := strings.LastIndex(text, mark); i >= 0 {
			text = text[i+len(mark):]
		}
	}
	return oneLine(text, mostDetail)
}

func oneLine(text string, most int) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// retryAfter finds the time that issuers and restingError write.
var retryAfter = regexp.MustCompile(`(?:retry after|no orders before) (\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)`)

// retryTime says when an order is made again: as the issuer says, else as planned.
func retryTime(text string, next time.Time) string {
	if m := retryAfter.FindStringSubmatch(text); m != nil {
		return m[1] + " " + m[2] + " UTC"
	}
	if next.IsZero() {
		return "by itself"
	}
	return next.UTC().Format("2006-01-02 15:04 UTC")
}
