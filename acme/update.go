package acme

import "fmt"

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

	// RSA has the name's certificate ordered for an RSA key of 2048 bits, for clients that know no ECDSA. Where it changes, another certificate is
	// ordered; the one that is there is served until then.
	RSA bool

	// Suspended says that nothing is ordered or renewed for the name. What is there is served on.
	Suspended bool
}

// Update applies changes of the table, in order; a name that is there already is
// changed. Certificate files are read before it returns. If they are bad, the last
// good certificate is served on and Problem tells why. An exact name without files
// is ordered from the ACME issuer, if there is one; a wildcard only with Options.DNSHook or DNS, "*" never.
func (m *Manager) Update(changes []Change) {
	m.updating.Lock()
	defer m.updating.Unlock()
	for _, c := range changes {
		name, ok := canonicalPattern(c.Name)
		switch {
		case !ok:
			m.log.Error("name of the table is malformed", "name", c.Name)
		case c.Removed:
			m.remove(name)
		default:
			m.add(name, c)
		}
	}
}

func (m *Manager) add(name string, c Change) {
	m.store.tell(name)
	order := m.issuer != nil && m.issuer.orders(name)
	if c.CertFile != "" || c.KeyFile != "" {
		m.files.attach(name, pairPaths{cert: c.CertFile, key: c.KeyFile})
		if order {
			// Files without a usable certificate leave the issued one in place.
			m.issuer.unwant(name, m.store.file(name) != nil)
		}
		return
	}
	m.files.detach(name)
	if order {
		m.issuer.want(name, c.RSA, c.Suspended)
	}
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

// Renew makes a new certificate for a name now: an order at the ACME issuer, made
// in the background by Run, or another internal certificate at the next handshake.
// It is an error for a name that is not in the table, has certificate files or an imported certificate, and for
// a wildcard that is not ordered.
func (m *Manager) Renew(name string) error {
	pattern, ok := canonicalPattern(name)
	switch {
	case !ok:
		return fmt.Errorf("acme: %q is no host name", name)
	case !m.store.isTold(pattern):
		return fmt.Errorf("acme: %s is not in the table", pattern)
	case m.store.file(pattern) != nil:
		return fmt.Errorf("acme: %s has a certificate file; replace the file instead", pattern)
	case m.store.hasFile(pattern) && m.store.imported(pattern) != nil:
		return fmt.Errorf("acme: %s has an imported certificate; import its successor, or remove it", pattern)
	case m.issuer != nil && m.issuer.orders(pattern):
		return m.issuer.hurry(pattern)
	case !isExact(pattern):
		return fmt.Errorf("acme: no certificate is ordered for %s: each host below it has one of the internal CA; orders of wildcards need certificates.acme.dns_hook or dns_update", pattern)
	}
	m.minter.drop(pattern)
	return nil
}
