package dnsupdate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// firstPause and longestPause lie between two looks at servers that do not have a record yet; each is twice the one before.
	firstPause   = 250 * time.Millisecond
	longestPause = 5 * time.Second
	// mostFailures is how often in all a name server may fail to answer before it is left out: an issuer that does not reach it asks another.
	mostFailures = 3
)

// await returns when all name servers have a record, as far as they answer; at least one does.
func (u *Updater) await(ctx context.Context, zone string, txt *dns.TXT) error {
	waiting, err := u.serversOf(ctx, zone)
	if err != nil {
		return err
	}
	seen, failures, last := false, map[string]int{}, error(nil)
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		var lacking []string
		for server, err := range haveRecord(ctx, waiting, txt) {
			switch {
			case err == nil:
				seen = true
			case errors.Is(err, errLacking):
				lacking = append(lacking, server)
			default:
				last = err
				if failures[server]++; failures[server] < mostFailures {
					lacking = append(lacking, server)
				}
			}
		}
		if len(lacking) == 0 && seen {
			return nil
		}
		if len(lacking) == 0 {
			return fmt.Errorf("no name server of %s says whether it has the record, set nameservers to those that do: %w", zone, last)
		}
		slices.Sort(lacking)
		waiting = lacking
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return fmt.Errorf("%s has taken the record, and %s did not get it, or do not say so, within %v: do transfers and notifies work? Raise timeout if they take longer", u.server, strings.Join(waiting, ", "), u.timeout)
		}
	}
}

// errLacking is a server that answers, and does not have the record.
var errLacking = errors.New("the record is not there")

// haveRecord asks servers at the same time whether they have a record; nil: one has.
func haveRecord(ctx context.Context, servers []string, txt *dns.TXT) map[string]error {
	var asking sync.WaitGroup
	var mu sync.Mutex
	out := make(map[string]error, len(servers))
	for _, server := range servers {
		asking.Go(func() {
			err := hasRecord(ctx, server, txt)
			mu.Lock()
			defer mu.Unlock()
			out[server] = err
		})
	}
	asking.Wait()
	return out
}

func hasRecord(ctx context.Context, server string, txt *dns.TXT) error {
	r, err := ask(ctx, server, txt.Hdr.Name, dns.TypeTXT)
	if err != nil {
		return err
	}
	if r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError {
		return fmt.Errorf("%s says %s for %s", server, dns.RcodeToString[r.Rcode], txt.Hdr.Name)
	}
	for _, rr := range r.Answer {
		if t, ok := rr.(*dns.TXT); ok && strings.Join(t.Txt, "") == txt.Txt[0] {
			return nil
		}
	}
	return errLacking
}

// serversOf returns the addresses of a zone's name servers.
func (u *Updater) serversOf(ctx context.Context, zone string) ([]string, error) {
	if len(u.nameservers) > 0 {
		return u.nameservers, nil
	}
	r, err := ask(ctx, u.server, zone, dns.TypeNS)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, rr := range r.Answer {
		if ns, ok := rr.(*dns.NS); ok {
			out = append(out, net.JoinHostPort(strings.TrimSuffix(ns.Ns, "."), u.port))
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s names no name servers of %s: set nameservers", u.server, zone)
	}
	return out, nil
}
