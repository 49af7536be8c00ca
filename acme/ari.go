package acme

import (
	"context"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// ariPoll asks issuers when they want certificates renewed (RFC 9773): after an incident, for one, that is at once. One node asks
// for a name at a time, and the others get its answer.
type ariPoll struct {
	plan  *schedule[string]
	every time.Duration // longest pause; 0: as the issuer says
}

const (
	ariDefault  = 6 * time.Hour // RFC 9773 section 4.3.2
	ariSoonest  = time.Minute
	ariLatest   = 24 * time.Hour
	ariRetry    = time.Hour
	ariPollers  = 2
	ariBodyMost = 64 << 10
)

// A renewalWindow is what the nodes have in common of an issuer's answer.
type renewalWindow struct {
	Cert   string    `json:"cert"`   // identifier of the certificate that it is about
	At     time.Time `json:"at"`     // chosen within the window
	Again  time.Time `json:"again"`  // when to ask again
	Reason string    `json:"reason"` // URL with an explanation
}

func ariKey(name string) string { return certKey(name) + ":ari" }

func (p *ariPoll) watch(name string) {
	if p.plan.at(name).IsZero() {
		p.plan.set(name, time.Now().Add(jitter(time.Second)))
	}
}

func (p *ariPoll) drop(name string) { p.plan.drop(name) }

func (p *ariPoll) run(ctx context.Context, i *issuer) {
	for {
		name, ok := p.plan.next(ctx)
		if !ok {
			return
		}
		if again := i.askARI(ctx, name); again > 0 {
			p.plan.set(name, time.Now().Add(again))
		}
	}
}

// askARI brings what the issuer says of a name's certificate up to date, and returns when to look again; 0: it is not watched any more.
func (i *issuer) askARI(ctx context.Context, name string) time.Duration {
	held := i.held(name)
	if held == nil {
		return 0
	}
	a := i.accountOf(held.directory)
	if a == nil {
		return 0 // nobody to ask
	}
	switch offered, err := a.learn(ctx); {
	case err != nil:
		i.log.Debug("it is not known yet whether the issuer says when to renew", "name", name, "err", err)
		return jitter(ariRetry)
	case !offered:
		return 0
	}
	id := certID(held)
	w, fresh := i.sharedWindow(ctx, name, id)
	if !fresh {
		if !i.mayAsk(ctx, name) {
			return jitter(ariSoonest)
		}
		var err error
		if w, err = a.window(ctx, id, i.ari.every, w); err != nil {
			if ctx.Err() == nil {
				i.log.Debug("the issuer does not say when to renew", "name", name, "err", err)
			}
			return jitter(ariRetry)
		}
		i.shareWindow(ctx, name, w)
	}
	i.heed(name, held, w)
	return max(time.Until(w.Again), time.Second)
}

// heed plans the renewal as the issuer has it.
func (i *issuer) heed(name string, held *leaf, w renewalWindow) {
	i.mu.Lock()
	o := i.wanted[name]
	if o == nil || o.ari.Equal(w.At) || o.leaf != held {
		i.mu.Unlock()
		return
	}
	before := o.ari
	o.ari = w.At
	i.mu.Unlock()
	if !before.IsZero() || w.Reason != "" {
		i.log.Info("the issuer wants another time for the renewal", "name", name, "at", w.At, "reason", w.Reason)
	}
	i.planFor(name, held)
}

// sharedWindow is what another node was told, if that still holds.
func (i *issuer) sharedWindow(ctx context.Context, name, id string) (w renewalWindow, fresh bool) {
	if i.vault.shared == nil {
		return w, false
	}
	found, err := i.vault.shared.Read(ctx, ariKey(name))
	if err != nil || found[0] == nil || json.Unmarshal(found[0], &w) != nil || w.Cert != id || time.Until(w.Again) > 2*ariLatest {
		return renewalWindow{}, false // the last is later than any node writes
	}
	return w, time.Now().Before(w.Again)
}

// mayAsk reports whether no other node asks at this moment.
func (i *issuer) mayAsk(ctx context.Context, name string) bool {
	if i.vault.shared == nil {
		return true
	}
	ok, err := i.vault.shared.Lease(ctx, ariKey(name)+":lock", i.owner, ariSoonest)
	return err == nil && ok
}

func (i *issuer) shareWindow(ctx context.Context, name string, w renewalWindow) {
	if i.vault.shared == nil {
		return
	}
	text, err := json.Marshal(w)
	if err == nil {
		err = i.vault.shared.Write(ctx, ariKey(name), text, ariLatest)
	}
	if err == nil {
		err = i.vault.shared.Announce(ctx, eventARI+name)
	}
	if err == nil {
		err = i.vault.shared.Release(ctx, ariKey(name)+":lock", i.owner)
	}
	if err != nil {
		i.log.Debug("other nodes ask the issuer by themselves", "name", name, "err", err)
	}
}

// accountOf is the account at the directory; nil if the settings do not have it.
func (i *issuer) accountOf(directory string) *account {
	for _, a := range i.accounts {
		if a.conf.Directory == directory {
			return a
		}
	}
	return nil
}

// offersARI reports whether the directory has renewalInfo, as far as it was read.
func (a *account) offersARI() bool {
	a.gate.mu.Lock()
	defer a.gate.mu.Unlock()
	return a.gate.ariBase != ""
}

// learn reads the directory, if it was not read before, and reports whether it has renewalInfo.
func (a *account) learn(ctx context.Context) (offered bool, err error) {
	if !a.offersARI() {
		_, err = a.client.Discover(ctx) // the gate notes what it says
	}
	return a.offersARI(), err
}

// window asks for the window of a certificate. The time within it that was chosen before stays, if it still lies there.
func (a *account) window(ctx context.Context, id string, every time.Duration, before renewalWindow) (w renewalWindow, err error) {
	a.gate.mu.Lock()
	base := a.gate.ariBase
	a.gate.mu.Unlock()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/"+id, nil)
	if err != nil {
		return w, err
	}
	resp, err := a.gate.ask(req)
	if err != nil {
		return w, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return w, fmt.Errorf("renewalInfo: %s", resp.Status)
	}
	var info struct {
		SuggestedWindow struct{ Start, End time.Time }
		ExplanationURL  string
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, ariBodyMost)).Decode(&info); err != nil {
		return w, fmt.Errorf("renewalInfo: %w", err)
	}
	start, end := info.SuggestedWindow.Start, info.SuggestedWindow.End
	if start.IsZero() || !end.After(start) {
		return w, fmt.Errorf("renewalInfo: window from %s to %s", start, end)
	}
	w = renewalWindow{Cert: id, At: before.At, Again: time.Now().Add(ariPause(resp.Header, every)), Reason: info.ExplanationURL}
	if before.Cert != id || w.At.Before(start) || w.At.After(end) {
		w.At = within(start, end)
	}
	return w, nil
}

// ariPause is how long the issuer's word holds.
func ariPause(h http.Header, every time.Duration) time.Duration {
	pause := ariDefault
	if seconds, err := strconv.Atoi(h.Get("Retry-After")); err == nil && seconds > 0 {
		pause = time.Duration(min(seconds, int(ariLatest/time.Second))) * time.Second
	} else if at, err := http.ParseTime(h.Get("Retry-After")); err == nil {
		pause = time.Until(at)
	}
	pause = min(max(pause, ariSoonest), ariLatest)
	if every > 0 {
		pause = min(pause, every)
	}
	return jitter(pause)
}

// certID identifies a certificate to its issuer (RFC 9773 section 4.1): by the key identifier of who signed it and its serial number.
// Empty: it has none of the first.
func certID(l *leaf) string {
	x, err := x509.ParseCertificate(l.served.Load().Certificate[0])
	if err != nil {
		return ""
	}
	return certIDOf(x)
}

func certIDOf(x *x509.Certificate) string {
	if len(x.AuthorityKeyId) == 0 {
		return ""
	}
	der, err := asn1.Marshal(x.SerialNumber)
	if err != nil {
		return ""
	}
	var raw asn1.RawValue
	if _, err := asn1.Unmarshal(der, &raw); err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(x.AuthorityKeyId) + "." + base64.RawURLEncoding.EncodeToString(raw.Bytes)
}
