package acme

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// directoryFolder keeps the certificates and accounts of different directories
// apart: a test CA's certificates must not be served after the move to the real one.
func directoryFolder(directory string) string {
	host := "directory"
	if u, err := url.Parse(directory); err == nil && u.Hostname() != "" {
		host = strings.ReplaceAll(u.Hostname(), ":", "_")
	}
	h := fnv.New32a()
	h.Write([]byte(directory)) // never fails, see hash.Hash
	return host + "-" + hex.EncodeToString(h.Sum(nil))
}

// newIssuer makes what orders certificates, of options that were checked.
func newIssuer(o Options, s *store, c *challenges, mint *authority, orders *prometheus.CounterVec) (*issuer, error) {
	v := &vault{dir: filepath.Join(o.Data, "certs", directoryFolder(o.ACME.Directory)), source: SourceACME, event: eventCert, shared: o.Shared, keys: o.Keys, log: o.Logger}
	if err := os.MkdirAll(v.dir, 0o700); err != nil {
		return nil, fmt.Errorf("acme: folder of certificates: %w", err)
	}
	i := &issuer{
		vault: v, known: o.Known, tenant: o.Tenant, store: s, log: o.Logger, results: orders,
		plan: newTurns(ownersMost, o.Tenant), unread: newSchedule[string](), wanted: make(map[string]*order), keys: make(map[string]string),
		ari:   &ariPoll{plan: newSchedule[string](), every: o.ARIEvery},
		quota: &quota{most: o.OrdersPerTenant, shared: o.Shared},
		owner: o.Node + "/" + processID(),
	}
	i.solver = &solver{challenges: c, shared: o.Shared, keys: o.Keys, log: o.Logger, borrowing: make(chan struct{}, mostBorrowing)}
	i.solver.dns = o.DNS
	if o.DNSHook != "" {
		i.solver.dns = &dnsHook{program: o.DNSHook, limit: dnsHookTime}
	}
	i.check = newSelfCheck(i.solver, mint.mint, o.AllowPrivateResponders, o.HTTPPort, o.TLSPort)
	for n, conf := range append([]ACME{o.ACME}, o.Fallbacks...) {
		a, err := newAccount(conf, v, n == 0)
		if err != nil {
			return nil, err
		}
		i.accounts = append(i.accounts, a)
		v.directories = append(v.directories, conf.Directory)
	}
	return i, nil
}

// processID tells processes of one node apart: while one takes over from another, each has its own leases.
func processID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}
