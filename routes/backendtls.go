package routes

import (
	"crypto/x509"
	"fmt"
	"path/filepath"
	"strings"
)

// BackendTLS is how an https backend is spoken to. Files are read at each new connection.
type BackendTLS struct {
	// ServerName is the name that is sent (SNI) and that the certificate has to have. Default: the host of the URL.
	ServerName string `yaml:"server_name,omitempty" json:"server_name,omitempty"`
	// CA vouches for the backend in the place of the system's roots: a PEM file, or the PEM text itself. A document in Redis names no
	// file of the three, as with Respond.File.
	CA string `yaml:"ca,omitempty" json:"ca,omitempty"`
	// ClientCert and ClientKey are PEM files with what the backend gets to see of us. Both or none.
	ClientCert string `yaml:"client_cert,omitempty" json:"client_cert,omitempty"`
	ClientKey  string `yaml:"client_key,omitempty" json:"client_key,omitempty"`
	// Verify false has any certificate taken, so that whoever is on the way can read and change
	// everything. nil: true.
	Verify *bool `yaml:"verify,omitempty" json:"verify,omitempty"`
}

// Verifies reports whether the backend's certificate is checked.
func (t *BackendTLS) Verifies() bool { return t.Verify == nil || *t.Verify }

// Authorities reads the certificates that CA names or holds; see ClientAuth.Authorities.
func (t *BackendTLS) Authorities() ([]*x509.Certificate, error) {
	return (&ClientAuth{CA: t.CA}).Authorities()
}

// AuthoritiesFor is Authorities with the file read by r, for an owner.
func (t *BackendTLS) AuthoritiesFor(owner string, r *FileReader) ([]*x509.Certificate, error) {
	return (&ClientAuth{CA: t.CA}).AuthoritiesFor(owner, r)
}

// Inline reports whether CA is the text of certificates, not the path of a file.
func (t *BackendTLS) Inline() bool { return (&ClientAuth{CA: t.CA}).Inline() }

// beside makes paths absolute; file is the one that names them.
func (t *BackendTLS) beside(file string) {
	t.ClientCert, t.ClientKey = beside(file, t.ClientCert), beside(file, t.ClientKey)
	if t.CA != "" && !t.Inline() {
		t.CA = beside(file, t.CA)
	}
}

func checkBackendTLS(field, url string, t *BackendTLS, mode checkMode) []finding {
	if t == nil {
		return nil
	}
	var out []finding
	add := func(name, format string, args ...any) {
		out = append(out, finding{field: field + name, reason: fmt.Sprintf(format, args...)})
	}
	if _, ok := cutPrefixFold(url, "https://"); !ok {
		add("", "is for https:// backends, and %q is none", url)
	}
	if host, err := CanonicalHost(t.ServerName); t.ServerName != "" && (err != nil || host != strings.ToLower(strings.TrimSuffix(t.ServerName, "."))) {
		add(".server_name", "bad name %q: want a host without port", t.ServerName)
	}
	switch {
	case t.CA == "":
	case !t.Verifies():
		add(".ca", "has no meaning where verify is false: remove one of them")
	case t.Inline():
		if _, err := t.Authorities(); err != nil {
			add(".ca", "%v", err)
		}
	case mode == checkPartial && !filepath.IsAbs(t.CA):
		add(".ca", "want an absolute path here, or the PEM text itself: this document has no folder")
	}
	if (t.ClientCert == "") != (t.ClientKey == "") {
		add("", "client_cert and client_key belong together: one of them is missing")
	}
	for name, path := range map[string]string{".client_cert": t.ClientCert, ".client_key": t.ClientKey} {
		if path != "" && mode == checkPartial && !filepath.IsAbs(path) {
			add(name, "want an absolute path here: this document has no folder")
		}
	}
	return out
}
