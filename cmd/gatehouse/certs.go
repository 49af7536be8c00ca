package main

import (
	"errors"
	"strings"

	"gatehouse/acme"
	"gatehouse/admin"
)

// certificates is what the API needs of the manager.
func (n *node) certificates() admin.Certificates {
	c := admin.Certificates{List: n.listCertificates, Renew: n.renewCertificate, ECH: n.echKey}
	importInto(&c, n.certs)
	return c
}

func (n *node) listCertificates(names ...string) []admin.Certificate {
	var list []acme.Status
	if len(names) == 0 {
		list = n.certs.List()
	}
	for _, name := range names {
		if st, ok := n.certs.StatusOf(name); ok {
			list = append(list, st)
		}
	}
	out := make([]admin.Certificate, len(list))
	for i := range list {
		st := &list[i]
		out[i] = admin.Certificate{
			Name: st.Name, Issuer: st.Issuer, Source: string(st.Source), NoVhost: st.Stray, Set: st.Set, Key: st.KeyType, NotBefore: st.NotBefore, NotAfter: st.NotAfter,
			Fingerprint: st.Fingerprint, Staple: st.Staple, StapleUntil: st.StapleUntil, Problem: st.Problem, LastError: st.LastError,
			LastTry: st.LastTry, NextTry: st.NextTry,
		}
	}
	return out
}

// echKey is what there is to publish of ECH.
func (n *node) echKey() admin.ECHKey {
	st := n.certs.ECHState()
	return admin.ECHKey{
		PublicName: st.PublicName, ConfigList: st.ConfigList, Changes: st.Changes, Until: st.Until, Problem: st.Problem,
		Protocols: n.edge.Protocols(), Port: n.cfg.Listen.PublicHTTPS,
	}
}

// renewCertificate answers the admin API. With an ACME issuer all that can be renewed is ordered.
func (n *node) renewCertificate(name string) (ordered bool, err error) {
	if err := n.certs.Renew(name); err != nil {
		return false, errors.New(strings.TrimPrefix(err.Error(), "acme: "))
	}
	return n.cfg.Certificates.Issuer == acme.IssuerACME, nil
}
