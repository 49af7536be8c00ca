package dnsupdate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

const (
	// exchangeTime bounds one question and its answer, connecting included.
	exchangeTime = 10 * time.Second
	// fudge is how far the clocks of both sides may be apart, in seconds (RFC 8945 section 10 recommends it).
	fudge = 300
)

// exchange sends a message and returns the answer to it. An answer may come together with an error: one whose signature is not good.
func exchange(ctx context.Context, network, server string, m *dns.Msg, secrets map[string]string) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTime)
	defer cancel()
	raw, err := new(net.Dialer).DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	// Package dns heeds the deadline of a context, and not its end.
	defer context.AfterFunc(ctx, func() { _ = raw.Close() })()
	client := &dns.Client{Net: network, Timeout: exchangeTime, TsigSecret: secrets}
	answer, _, err := client.ExchangeWithConnContext(ctx, m, &dns.Conn{Conn: raw})
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return answer, err
}

// ask asks a server for the records of a name that it has itself.
func ask(ctx context.Context, server, name string, kind uint16) (*dns.Msg, error) {
	m := new(dns.Msg).SetQuestion(name, kind)
	m.RecursionDesired = false
	r, err := exchange(ctx, "tcp", server, m, nil)
	if err != nil {
		return nil, unreached(server, err)
	}
	return r, nil
}

// change has the server change a zone. What its answer means in the end is in judge.
func (u *Updater) change(ctx context.Context, zone string, edit func(*dns.Msg)) error {
	m := new(dns.Msg).SetUpdate(zone)
	edit(m)
	m.SetTsig(u.key.Name, u.key.Algorithm, fudge, time.Now().Unix())
	r, err := exchange(ctx, "tcp", u.server, m, u.secrets)
	if r == nil {
		return unreached(u.server, err)
	}
	return u.judge(zone, m.Ns[0].Header().Name, r, err)
}

// judge says in plain words why a change was not made. What an answer without a good signature says is only good for that.
func (u *Updater) judge(zone, name string, r *dns.Msg, bad error) error {
	key := strings.TrimSuffix(u.key.Name, ".")
	signature := r.IsTsig()
	if signature != nil {
		switch signature.Error {
		case dns.RcodeBadKey:
			return fmt.Errorf("%s does not know the key %q, or does not take it for this zone: set key_name and algorithm as the server has them", u.server, key)
		case dns.RcodeBadSig:
			return fmt.Errorf("%s has another secret for the key %q: set key to the server's", u.server, key)
		case dns.RcodeBadTime:
			return fmt.Errorf("the clocks of %s and of this node are more than %d seconds apart: set them right", u.server, fudge)
		}
	}
	switch r.Rcode {
	case dns.RcodeSuccess:
	case dns.RcodeRefused:
		return fmt.Errorf("%s refuses to change TXT records of %s (REFUSED): let the key %q change them there (BIND: update-policy; Knot: acl)", u.server, name, key)
	case dns.RcodeNotAuth:
		return fmt.Errorf("%s is not the primary of the zone %s, or does not take the key %q for it (NOTAUTH): set server and zone, and let the key change it there", u.server, zone, key)
	case dns.RcodeNotZone:
		return fmt.Errorf("%s says that %s is not in the zone %s (NOTZONE): set zone to the one that it is in, or leave it out", u.server, name, zone)
	case dns.RcodeNotImplemented:
		return fmt.Errorf("%s takes no updates (NOTIMP): set server to the zone's primary, and let it take them", u.server)
	default:
		return fmt.Errorf("%s cannot change the zone %s (%s): its log says why", u.server, zone, dns.RcodeToString[r.Rcode])
	}
	if signature == nil || bad != nil { // or anybody on the way could have answered (RFC 8945 section 5.3)
		return fmt.Errorf("the answer of %s is not signed with the key %q: is something else answering in its place?", u.server, key)
	}
	return nil
}

// unreached says in plain words why a server gave no answer.
func unreached(server string, err error) error {
	var network net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return fmt.Errorf("%s does not answer in time: does it listen there, over TCP, and may this node connect to it? (%w)", server, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing listens at %s: is the address right, does the server take TCP? (%w)", server, err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%s closes the connection without an answer: may this node ask it? (%w)", server, err)
	}
	return fmt.Errorf("%s cannot be asked: %w", server, err)
}
