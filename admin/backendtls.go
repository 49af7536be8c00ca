package admin

import (
	"crypto/tls"

	"gatehouse/routes"
)

// BackendTLSProblem returns which field of a backend's settings names a file that cannot be used now, and why: each new
// connection would fail. nil: none, or there are no settings.
func BackendTLSProblem(t *routes.BackendTLS) (field string, err error) {
	if t == nil {
		return "", nil
	}
	if t.CA != "" {
		if _, err := t.Authorities(); err != nil {
			return "ca", err
		}
	}
	if t.ClientCert != "" {
		if _, err := tls.LoadX509KeyPair(t.ClientCert, t.ClientKey); err != nil {
			return "client_cert", err
		}
	}
	return "", nil
}
