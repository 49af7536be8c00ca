package edge

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"

	"gatehouse/routes"
)

// tlsKey is a text that is the same for two backends if all their settings of TLS are.
func tlsKey(t *routes.BackendTLS) string {
	if t == nil {
		return ""
	}
	text, err := json.Marshal(t)
	if err != nil {
		return fmt.Sprintf("%p", t) // strings and a switch encode; were it not so, the backend would have a pool of its own
	}
	return string(text)
}

// backendTLS is the configuration of connections to a backend; nil: the default, which
// verifies. Files are read in each handshake, of which there are few: a new certificate
// acts without more, and one that cannot be read, or not in time, fails this handshake alone.
func (s *Server) backendTLS(owner string, b *routes.Backend) (*tls.Config, error) {
	t := b.TLS
	if t == nil {
		return s.opts.BackendTLS, nil
	}
	address, err := routes.ParseAddress(b.URL)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.opts.BackendTLS != nil {
		config = s.opts.BackendTLS.Clone()
	}
	config.ServerName = cmp.Or(t.ServerName, address.Host)
	if t.ClientCert != "" {
		config.SessionTicketsDisabled = true // a session that is resumed goes on under the certificate that it began with, which may be gone
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return s.clientPair(owner, t)
		}
	}
	switch {
	case !t.Verifies():
		config.InsecureSkipVerify = true // as the document says
	case t.CA != "":
		config.InsecureSkipVerify = true // for VerifyConnection takes its place
		name := config.ServerName        // cs has none where it is an address, which is not sent
		config.VerifyConnection = func(cs tls.ConnectionState) error { return s.verifyBackend(owner, t, name, cs) }
	}
	return config, nil
}

// maxPairFile bounds a file of client_cert, and of client_key, in bytes.
const maxPairFile = 1 << 20

// clientPair reads what the backend gets to see. A pipe or a device in the place of a file would hold the handshake, or fill the memory.
func (s *Server) clientPair(owner string, t *routes.BackendTLS) (*tls.Certificate, error) {
	cert, err := s.files.Read(owner, t.ClientCert, maxPairFile)
	if err != nil {
		return nil, fmt.Errorf("backend's tls.client_cert: %w", err)
	}
	key, err := s.files.Read(owner, t.ClientKey, maxPairFile)
	if err != nil {
		return nil, fmt.Errorf("backend's tls.client_key: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("backend's tls.client_cert: %w", err)
	}
	return &pair, nil
}

// verifyBackend is what crypto/tls does, by the authorities that the backend's CA holds now.
func (s *Server) verifyBackend(owner string, t *routes.BackendTLS, name string, cs tls.ConnectionState) error {
	authorities, err := t.AuthoritiesFor(owner, &s.files)
	if err != nil {
		return fmt.Errorf("backend's tls.ca: %w", err)
	}
	if len(cs.PeerCertificates) == 0 {
		return errors.New("the backend has shown no certificate")
	}
	opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), DNSName: name}
	for _, c := range authorities {
		opts.Roots.AddCert(c)
	}
	for _, c := range cs.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, err = cs.PeerCertificates[0].Verify(opts)
	return err
}
