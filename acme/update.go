package acme

import (
	"errors"
	"fmt"
)

// Change tells of one name of the table.
type Change struct {
	// Name is an exact name, "*.x" or "*". A malformed one is logged and ignored.
	Name string

	// Removed says that the name is not served any more: its certificate is
	// forgotten and not renewed.
	Removed bool

	// CertFile and KeyFile are a certificate chain and its private key in PEM form;
	// both may be the same file. Relative paths belong to the working folder. Both
	// empty leaves the choice to the issuer; one without the other is a problem.
	CertFile, KeyFile string

	// Owner is whose files they are: reading those of one does not hold up those of another.
	Owner string

	// Set has the name share one certificate with all others of the same Set, which is the name of their vhost: one order, renewed as one. Changes of
	// names that are new to a Set belong into one Update, or the certificate is ordered twice. Empty: the name has a certificate of its own.
	Set string

	// RSA has the name's certificate ordered for an RSA key of 2048 bits, for clients that know no ECDSA. Where it changes, another certificate is
	// ordered; the one that is there is served until then. All names of a Set have the same.
	RSA bool

	// Suspended says that nothing is ordered or renewed for the name. What is there is served on.
	Suspended bool
}

// Update applies changes of the table, in order; a name that is there already is
// changed. Certificate files are read before it returns, but nothing waits for one that takes
// longer than a second. If they are bad, the last
// good certificate is served on and Problem tells why. An exact name without files
// is ordered from the ACME issuer, if there is one; a wildcard only with Options.DNSHook or DNS, "*" never.
func (m *Manager) Update(changes []Change) {
	m.updating.Lock()
	defer m.updating.Unlock()
	joining := map[string]Change{} // by name: into which set
	pairs := m.files.pairsOf(changes)
	for _, c := range changes {
		name, ok := canonicalPattern(c.Name)
		delete(joining, name)
		switch {
		case !ok:
			m.log.Error("name of the table is malformed", "name", c.Name)
		case c.Removed:
			m.remove(name)
		default:
			m.add(name, c, joining, pairs)
		}
	}
	m.join(joining)
}

// join has sets ordered, now that all their names are known.
func (m *Manager) join(joining map[string]Change) {
	sets := map[string][]string{}
	for name, c := range joining {
		key, _ := canonicalPattern(c.Set) // add has seen that it is good
		sets[key] = append(sets[key], name)
	}
	for key, names := range sets {
		one := joining[names[0]] // all are of one vhost
		m.issuer.want(key, one.RSA, one.Suspended, names...)
	}
}

// add tells of one name. Of a set it only notes that in joining.
func (m *Manager) add(name string, c Change, joining map[string]Change, pairs map[pairPaths]*filePair) {
	isNew := m.fleet != nil && !m.store.isTold(name)
	if m.store.tell(name); isNew {
		m.fleet.newcomers.add(name)
	}
	order := m.issuer != nil && m.issuer.orders(name)
	if c.CertFile != "" || c.KeyFile != "" {
		m.files.attach(name, pairPaths{cert: c.CertFile, key: c.KeyFile}, pairs)
		if order {
			// Files without a usable certificate leave the issued one in place.
			m.issuer.unwant(name, m.store.file(name) != nil)
		}
		return
	}
	m.files.detach(name)
	if !order {
		return
	}
	if _, ok := canonicalPattern(c.Set); ok {
		joining[name] = c
		return
	}
	m.issuer.want(name, c.RSA, c.Suspended, name)
}

func (m *Manager) remove(name string) {
	m.store.untell(name)
	m.files.detach(name)
	if m.issuer != nil {
		m.issuer.unwant(name, true)
	}
	if !isExact(name) {
		return
	}
	m.minter.drop(name)
}

// NotOrdered says in words for the operator that no certificate is ordered for a wildcard or "*", and what to do. Wildcards are where there is
// a hook of DNS-01.
func NotOrdered(pattern string) string {
	if pattern == "*" {
		return "no certificate is ordered for *: each host that it answers for has one of the internal CA; name the hosts, or give it certificate files"
	}
	return fmt.Sprintf("no certificate is ordered for %s: each host below it has one of the internal CA; orders of wildcards need certificates.acme.dns_hook or dns_update", pattern)
}

// Renew makes a new certificate for a name now: an order at the ACME issuer, made
// in the background by Run, or another internal certificate at the next handshake.
// It is an error for a name that is not in the table, has certificate files or an imported certificate, and for
// a wildcard that is not ordered.
func (m *Manager) Renew(name string) error {
	pattern, ok := canonicalPattern(name)
	switch {
	case !ok:
		return fmt.Errorf("acme: %q is no host name", name)
	case !m.store.isTold(pattern) && m.store.imported(pattern) == nil:
		return fmt.Errorf("acme: %s is not in the table", pattern)
	case m.store.file(pattern) != nil:
		return fmt.Errorf("acme: %s has a certificate file; replace the file instead", pattern)
	case m.store.hasFile(pattern) && m.store.imported(pattern) != nil:
		return fmt.Errorf("acme: %s has an imported certificate; import its successor, or remove it", pattern)
	case m.issuer != nil && m.issuer.orders(pattern):
		return m.issuer.hurry(pattern, true)
	case !isExact(pattern):
		return errors.New("acme: " + NotOrdered(pattern))
	}
	m.minter.drop(pattern)
	return nil
}
