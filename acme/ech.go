package acme

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"
)

const defaultECHRotate = 30 * 24 * time.Hour

// ECH are the options of Encrypted Client Hello (RFC 9849): clients that know a key from DNS encrypt the server name, and show PublicName in the clear.
type ECH struct {
	// PublicName is the name that clients show, and under which a client with a key that is known no more is told the one of now. It
	// should have a certificate that clients trust: those with an old key fail otherwise. Lower case, A-labels. Empty: no ECH.
	PublicName string

	// Rotate is for how long a key is published. It decrypts twice as long after that. 0: 30 days; less than an hour is an error.
	Rotate time.Duration
}

func (o *ECH) withDefaults() error {
	if o.PublicName == "" {
		return nil
	}
	if err := checkPublicName(o.PublicName); err != nil {
		return fmt.Errorf("acme: public name of ECH: %w", err)
	}
	if o.Rotate == 0 {
		o.Rotate = defaultECHRotate
	}
	if o.Rotate < time.Hour {
		return fmt.Errorf("acme: ECH keys rotate after %v, want an hour or more", o.Rotate)
	}
	return nil
}

// CheckECHPublicName says why clients would not take a config with that public name; nil: they would.
func CheckECHPublicName(name string) error { return checkPublicName(name) }

// EncryptedClientHelloKeys is tls.Config's hook GetEncryptedClientHelloKeys: the keys of now, which must not be changed. It takes no lock and allocates
// nothing. Nil while there are none, and without Options.ECH: then ECH is not offered, and clients do without.
func (m *Manager) EncryptedClientHelloKeys(*tls.ClientHelloInfo) ([]tls.EncryptedClientHelloKey, error) {
	if m.ech == nil {
		return nil, nil
	}
	return m.ech.ring.Load().tls, nil
}

// ECHState is what there is to publish. The zero value: ECH is off.
type ECHState struct {
	PublicName string
	ConfigList []byte    // ECHConfigList of the key that is published now; nil: there is none yet
	Changes    time.Time // when the next key is published
	Until      time.Time // until when the one of now decrypts; zero without ConfigList
	Problem    string    // what is wrong, in plain words, and what to do; empty: nothing
}

// ECHState describes the key that is published now. It may be called at any time.
func (m *Manager) ECHState() ECHState {
	if m.ech == nil {
		return ECHState{}
	}
	ring := m.ech.ring.Load()
	st := ECHState{PublicName: m.ech.publicName, ConfigList: ring.list, Changes: ring.changes}
	if ring.list != nil {
		st.Until = m.ech.end(ring.published)
	}
	switch {
	case ring.err != nil:
		st.Problem = "keys: " + oneLine(ring.err.Error(), mostDetail)
	case ring.list == nil:
		st.Problem = "no key yet: what nodes share has not answered"
	default:
		st.Problem = m.publicNameProblem(st.PublicName)
	}
	return st
}

// publicNameProblem says why clients with an old key could not be told the one of now: they believe only a certificate of the public name.
func (m *Manager) publicNameProblem(name string) string {
	const fate = ": clients with an old key fail"
	if !m.known(name) {
		return "no vhost answers for " + name + fate + "; add one with this name or alias"
	}
	l := m.demand(context.Background(), name, false)
	if l == nil || l.internal {
		return name + " has the internal CA's certificate" + fate + ", unless they trust that CA"
	}
	if odd := l.oddities(name, time.Now()); odd != "" {
		return "certificate of " + name + ": " + odd + fate
	}
	return ""
}

// runECH rotates the keys until ctx ends, and logs what is wrong when that changes. It looks every minute: a timer of days drifts from
// the wall clock when a machine sleeps.
func (m *Manager) runECH(ctx context.Context) {
	said := ""
	for first := true; ; first = false {
		m.ech.look(ctx, time.Now(), true)
		ring := m.ech.ring.Load()
		if ctx.Err() != nil {
			return
		}
		// At a start certificates may still be on their way.
		if problem := m.ECHState().Problem; problem != said && (ring.err != nil || !first) {
			if said = problem; problem != "" {
				m.log.Warn("ECH does not work as it should", "public_name", m.ech.publicName, "problem", problem)
			} else {
				m.log.Info("ECH works again", "public_name", m.ech.publicName)
			}
		}
		wait := echLook
		if ring.incomplete {
			wait = echRetry
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}
