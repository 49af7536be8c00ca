package acme

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	xacme "golang.org/x/crypto/acme"

	"gatehouse/routes"
)

// A pending is an order that an issuer has taken and that has not come to its end. It is noted, so that whoever stands in for a node that was ended
// meanwhile, be it the same one after its restart, goes on with it: that costs no further order, and no name is validated twice.
type pending struct {
	Directory string    `json:"directory"`
	URL       string    `json:"url"`
	Names     []string  `json:"names"`
	Placed    time.Time `json:"placed"`
	// Key is the certificate's, in PEM form, from before the order is finalized: then what was issued can still be fetched. autocert keeps its key to itself.
	Key string `json:"key,omitempty"`
}

// pendingLife is how long an order is worth going on with. Issuers keep them for days, and name servers change.
const pendingLife = time.Hour

func orderKey(name string) string { return certKey(name) + ":order" }

func (v *vault) orderFile(name string) string { return filepath.Join(v.dir, name+".order") }

// pending reads which order is under way for a name; nil: none, or none that is known.
func (v *vault) pending(ctx context.Context, name string) *pending {
	var text []byte
	var err error
	if v.shared != nil {
		var found [][]byte
		if err = insist(ctx, func(ctx context.Context) (err error) { found, err = v.shared.Read(ctx, orderKey(name)); return err }); err == nil && found[0] != nil {
			text, _, err = v.keys.open(orderKey(name), found[0])
		}
	} else if text, err = routes.ReadFile(v.orderFile(name), maxPairBytes); errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	p := new(pending)
	if err == nil && text != nil {
		err = json.Unmarshal(text, p)
	}
	if err != nil {
		v.log.Warn("order under way cannot be read: another one is made", "name", name, "err", err)
		return nil
	}
	if text == nil || time.Since(p.Placed).Abs() > pendingLife {
		return nil
	}
	return p
}

// putPending notes which order is under way for a name. That it cannot be is no reason to fail: should this node end now, another order is made.
func (v *vault) putPending(ctx context.Context, name string, p *pending) {
	text, err := json.Marshal(p)
	switch {
	case err != nil:
	case v.shared != nil:
		text = v.keys.seal(orderKey(name), text)
		err = insist(ctx, func(ctx context.Context) error { return v.shared.Write(ctx, orderKey(name), text, pendingLife) })
	default:
		err = writeFile(v.orderFile(name), text, 0o600)
	}
	if err != nil {
		v.log.Warn("order under way is not noted", "name", name, "err", err)
	}
}

// dropPending forgets the order of a name: it has come to its end. What cannot be forgotten is seen to be over when somebody goes on with it.
func (v *vault) dropPending(ctx context.Context, name string) {
	var err error
	if v.shared != nil {
		ctx, cancel := context.WithTimeout(ctx, sharedWait)
		defer cancel()
		err = v.shared.Remove(ctx, orderKey(name))
	} else {
		err = ignoreAbsent(os.Remove(v.orderFile(name)))
	}
	if err != nil {
		v.log.Debug("order that has ended is still noted", "name", name, "err", err)
	}
}

// orderBy orders what a permit gives leave for, and reports whether the issuer has taken the order, whatever came of it.
func (i *issuer) orderBy(ctx context.Context, a *account, t *try, w wantedCert, p permit) (text []byte, placed bool, err error) {
	if !t.hand && !t.force { // what was begun before somebody wanted a new one is not what he wants
		if text, resumed, err := i.resume(ctx, a, t.key, w); resumed {
			return text, true, err
		}
	}
	way := &pending{Directory: a.conf.Directory, Names: w.names}
	defer a.gate.allow(w.names, p, func(url string) {
		way.URL, way.Placed = url, time.Now()
		i.vault.putPending(ctx, t.key, way)
	})()
	w.keyed = func(key string) {
		way.Key = key
		i.vault.putPending(ctx, t.key, way)
	}
	if i.held(t.key) == nil && w.challenge == challengeALPN && !w.rsa && len(w.names) == 1 {
		text, err = a.orderFirst(ctx, w.names[0], i.solver, i.known)
	} else {
		text, err = a.order(ctx, w, i.solver)
	}
	return text, err == nil || a.gate.isPlaced(w.names), err
}

// resume goes on with the order that is under way at this issuer for the same names. resumed is false if there is none, or it is over; then nothing was asked
// of the issuer that counts.
func (i *issuer) resume(ctx context.Context, a *account, key string, w wantedCert) (text []byte, resumed bool, err error) {
	p := i.vault.pending(ctx, key)
	if p == nil || p.Directory != a.conf.Directory || !slices.Equal(p.Names, w.names) {
		return nil, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	order, err := a.client.GetOrder(ctx, p.URL)
	if err != nil {
		i.log.Debug("order under way cannot be asked for", "name", key, "err", err)
		return nil, false, nil
	}
	if order.URI == "" {
		order.URI = p.URL
	}
	switch order.Status {
	case xacme.StatusPending, xacme.StatusReady:
		w.keyed = func(text string) {
			p.Key = text
			i.vault.putPending(ctx, key, p)
		}
		i.log.Info("going on with an order that is under way", "name", key)
		text, err = a.complete(ctx, order, w, i.solver)
		return text, true, err
	case xacme.StatusProcessing, xacme.StatusValid:
		text, err = a.fetchIssued(ctx, order, p.Key)
		if err != nil {
			i.log.Debug("what was ordered cannot be fetched", "name", key, "err", err)
			return nil, false, nil
		}
		// Its end was not noted any more, or it was ordered before another type of key was wanted.
		if l, err := parsePair(SourceACME, text, text); err == nil && (i.isHeld(key, l) || l.isRSA() != w.rsa) {
			return nil, false, nil
		}
		return text, true, nil
	}
	return nil, false, nil
}

func (i *issuer) isHeld(key string, l *leaf) bool {
	old := i.held(key)
	return old != nil && old.digest == l.digest
}

// fetchIssued gets the certificate of an order that was finalized for a key.
func (a *account) fetchIssued(ctx context.Context, order *xacme.Order, key string) ([]byte, error) {
	if key == "" {
		return nil, errors.New("its key is not known")
	}
	order, err := a.client.WaitOrder(ctx, order.URI)
	if err != nil {
		return nil, err
	}
	chain, err := a.client.FetchCert(ctx, order.CertURL, true)
	if err != nil {
		return nil, err
	}
	return withChain([]byte(key), chain)
}

// withChain is a key and the chain for it, in PEM form.
func withChain(text []byte, chain [][]byte) ([]byte, error) {
	if len(chain) == 0 {
		return nil, errors.New("the issuer gave no certificate")
	}
	for _, c := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c})...)
	}
	return text, nil
}
