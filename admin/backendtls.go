package admin

import (
	"crypto/tls"

	"gatehouse/routes"
)

// BackendTLSProblem returns which field of a backend's settings names a file that cannot be used now, and why: each new
// connection would fail. nil: none, or there are no settings. They are an owner's, and read by files.
func BackendTLSProblem(owner string, files *routes.FileReader, t *routes.BackendTLS) (field string, err error) {
	if t == nil {
		return "", nil
	}
	if t.CA != "" {
		if _, err := t.AuthoritiesFor(owner, files); err != nil {
			return "ca", err
		}
	}
	if t.ClientCert == "" {
		return "", nil
	}
	cert, err := files.Read(owner, t.ClientCert, maxPairFile)
	if err != nil {
		return "client_cert", err
	}
	key, err := files.Read(owner, t.ClientKey, maxPairFile)
	if err != nil {
		return "client_key", err
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		return "client_cert", err
	}
	return "", nil
}

// maxPairFile bounds a file of client_cert, and of client_key, in bytes.
const maxPairFile = 1 << 20
