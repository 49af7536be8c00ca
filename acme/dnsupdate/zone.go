package dnsupdate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// mostAliases is how many CNAMEs are followed one after the other. Resolvers follow about as many.
const mostAliases = 8

// follow returns the name at the end of the CNAMEs that begin at one.
func (u *Updater) follow(ctx context.Context, name string) (string, error) {
	path := []string{name}
	for range mostAliases {
		next, err := u.alias(ctx, name)
		if err != nil {
			return "", err
		}
		if next == "" {
			return name, nil
		}
		if slices.Contains(path, next) {
			return "", fmt.Errorf("the CNAMEs at %s lead in a circle: %s", path[0], strings.Join(append(path, next), " → "))
		}
		name = next
		path = append(path, name)
	}
	return "", fmt.Errorf("more than %d CNAMEs follow each other at %s: have the first name the record's place itself", mostAliases, path[0])
}

// alias returns where a CNAME of the name leads; empty: there is none. One that comes of a wildcard is none: a record at the name itself
// goes before it, and *.shop.test CNAME is what zones with wildcard sites are likely to have.
func (u *Updater) alias(ctx context.Context, name string) (string, error) {
	target, err := u.lookUpCNAME(ctx, name)
	if target == "" || err != nil {
		return "", err
	}
	_, above, _ := strings.Cut(name, ".")
	other, err := u.lookUpCNAME(ctx, "_no-such-name-of-gatehouse."+above)
	if err != nil || other == target {
		return "", err
	}
	return target, nil
}

func (u *Updater) lookUpCNAME(ctx context.Context, name string) (string, error) {
	r, err := u.resolve(ctx, name, dns.TypeCNAME)
	if err != nil {
		return "", err
	}
	if r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError {
		return "", fmt.Errorf("whether %s is a CNAME cannot be found out: the resolver says %s; check the zone, or set resolver to another one", name, dns.RcodeToString[r.Rcode])
	}
	for _, rr := range r.Answer {
		if c, ok := rr.(*dns.CNAME); ok && dns.CanonicalName(c.Hdr.Name) == name {
			return dns.CanonicalName(c.Target), nil
		}
	}
	return "", nil
}

// resolve asks the resolvers in turn: by UDP, and in the end by TCP, which some networks let through alone.
func (u *Updater) resolve(ctx context.Context, name string, kind uint16) (*dns.Msg, error) {
	resolvers := []string{u.resolver}
	if u.resolver == "" {
		conf, err := dns.ClientConfigFromFile("/etc/resolv.conf")
		if err != nil {
			return nil, fmt.Errorf("no resolver is known: set resolver (%w)", err)
		}
		resolvers = nil
		for _, host := range conf.Servers {
			resolvers = append(resolvers, net.JoinHostPort(host, conf.Port))
		}
	}
	last := errors.New("no resolver is known: set resolver")
	for _, network := range []string{"udp", "tcp"} {
		for _, server := range resolvers {
			r, err := exchange(ctx, network, server, new(dns.Msg).SetQuestion(name, kind), nil)
			if err == nil && !r.Truncated {
				return r, nil
			}
			if err != nil {
				last = fmt.Errorf("the resolver cannot be asked, set resolver to another one: %w", unreached(server, err))
			}
		}
	}
	return nil, last
}

// zoneOf returns the zone of the server that a name is in.
func (u *Updater) zoneOf(ctx context.Context, name string) (string, error) {
	if u.zone != "" {
		if !dns.IsSubDomain(u.zone, name) {
			return "", fmt.Errorf("%s is not in the zone %s: set zone to the one that it is in, or leave it out", name, u.zone)
		}
		return u.zone, nil
	}
	delegated := ""
	for at := name; at != ""; _, at, _ = strings.Cut(at, ".") {
		r, err := ask(ctx, u.server, at, dns.TypeSOA)
		if err != nil {
			return "", err
		}
		for _, rr := range slices.Concat(r.Answer, r.Ns) {
			owner := dns.CanonicalName(rr.Header().Name)
			switch {
			case !dns.IsSubDomain(owner, name):
			case rr.Header().Rrtype == dns.TypeNS && !r.Authoritative && delegated == "":
				delegated = owner
			case rr.Header().Rrtype != dns.TypeSOA || !r.Authoritative:
			case delegated != "" && delegated != owner && dns.IsSubDomain(owner, delegated):
				return "", fmt.Errorf("%s has given %s to other servers: set server to the primary of that zone", u.server, delegated)
			default:
				return owner, nil
			}
		}
	}
	return "", fmt.Errorf("%s has no zone that %s is in: set server to the zone's primary, or delegate the name by a CNAME into a zone of that server", u.server, name)
}
