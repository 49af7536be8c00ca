package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"gatehouse/routes"
)

// Certificates are what the API needs of the manager of certificates. Nil functions are refused.
type Certificates struct {
	// List describes names of the table, in no order; without names all. Names that the table does not have are left out.
	List func(names ...string) []Certificate
	// Renew has a name's certificate made anew. ordered: from the ACME issuer, in a while; else by the internal CA at the next handshake.
	Renew func(name string) (ordered bool, err error)
	// Import serves a certificate for names from now on, without names for all that it covers, and returns these names and what clients may
	// refuse about it.
	Import func(ctx context.Context, certPEM, keyPEM []byte, names ...string) (imported, warnings []string, err error)
	// Remove ends what Import began.
	Remove func(ctx context.Context, names ...string) error
	// ECH is what there is to publish of Encrypted Client Hello.
	ECH func() ECHKey
}

// The sources of a Certificate.
const (
	SourceInternal = "internal" // the node's own CA
	SourceACME     = "acme"
	SourceFile     = "file"
	SourceImported = "imported"
)

// A Certificate describes what is served for one name of the table, or what was imported for another. Times are zero where they do not apply.
type Certificate struct {
	Name        string    `json:"name"`
	Issuer      string    `json:"issuer"`
	Source      string    `json:"source"`
	NoVhost     bool      `json:"no_vhost,omitempty"` // no vhost has this very name: it was imported, and serves those that it covers
	Set         string    `json:"set,omitempty"`      // the vhost all of whose names share this certificate; empty: the name has its own
	Key         string    `json:"key"`                // as "ECDSA P-256"
	NotBefore   time.Time `json:"not_before,omitzero"`
	NotAfter    time.Time `json:"not_after,omitzero"`
	Fingerprint string    `json:"fingerprint,omitempty"` // SHA-256, in hex; of none from the internal CA
	Staple      string    `json:"staple"`                // none, pending, good, revoked, expired
	StapleUntil time.Time `json:"staple_until,omitzero"`
	Problem     string    `json:"problem,omitempty"`    // what is wrong, in plain words, and what to do
	LastError   string    `json:"last_error,omitempty"` // as it came
	LastTry     time.Time `json:"last_try,omitzero"`    // when the last order ended, or was put off
	NextTry     time.Time `json:"next_try,omitzero"`    // next order or renewal
}

// A CertificateList is the answer of GET /certs, by name.
type CertificateList struct {
	Node         string        `json:"node"`
	Now          time.Time     `json:"now"` // of the node's clock
	Certificates []Certificate `json:"certificates"`
}

func (a *API) listCerts(w http.ResponseWriter, r *http.Request) error {
	if a.opts.Certificates.List == nil {
		return errNoCertificates
	}
	q := r.URL.Query()
	for key := range q {
		if key != "name" && key != "issuer" && key != "expiring" {
			return &apiError{http.StatusBadRequest, fmt.Sprintf("unknown parameter %q: want name, issuer or expiring", key), nil}
		}
	}
	all, err := a.certificates(q["name"])
	if err != nil {
		return err
	}
	out := CertificateList{Node: a.opts.Node, Now: time.Now(), Certificates: []Certificate{}}
	var within time.Duration
	if text := q.Get("expiring"); text != "" {
		if within, err = positive(text); err != nil {
			return err
		}
	}
	issuer := strings.ToLower(q.Get("issuer"))
	for _, c := range all {
		if strings.Contains(strings.ToLower(c.Issuer), issuer) && (within == 0 || c.endsWithin(within, out.Now)) {
			out.Certificates = append(out.Certificates, c)
		}
	}
	return writeJSON(w, http.StatusOK, out)
}

var errNoCertificates = &apiError{http.StatusNotImplemented, "this node has no certificates", nil}

func positive(text string) (time.Duration, error) {
	d, err := routes.ParseDuration(text)
	if err == nil && d <= 0 {
		err = fmt.Errorf("bad duration %q: want more than nothing, such as 10d", text)
	}
	if err != nil {
		return 0, &apiError{http.StatusBadRequest, "expiring: " + err.Error(), nil}
	}
	return time.Duration(d), nil
}

// endsWithin reports whether a certificate ends that soon, or has ended. Internal ones live for days only, and are made anew by themselves.
func (c *Certificate) endsWithin(d time.Duration, now time.Time) bool {
	return c.Source != SourceInternal && !c.NotAfter.IsZero() && c.NotAfter.Sub(now) < d
}

// certificates describes names, or all, sorted. A host that is no name of the table is that of the wildcard that it is below.
func (a *API) certificates(names []string) ([]Certificate, error) {
	var all []Certificate
	if len(names) == 0 {
		all = a.opts.Certificates.List()
	}
	seen := map[string]bool{}
	for _, given := range names {
		c, ok := a.certificate(given)
		if !ok {
			if _, path := routes.SplitName(given); path != "" {
				return nil, badName(given, errors.New("it has a path"))
			}
			return nil, &apiError{http.StatusNotFound, "no vhost answers for " + given, nil}
		}
		if !seen[c.Name] {
			seen[c.Name] = true
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b Certificate) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func (a *API) certificate(given string) (c Certificate, ok bool) {
	name, err := routes.CanonicalName(given)
	if err != nil {
		return c, false
	}
	patterns := []string{name}
	if !strings.HasPrefix(name, "*") {
		for rest := name; strings.Contains(rest, "."); {
			_, rest, _ = strings.Cut(rest, ".")
			patterns = append(patterns, "*."+rest)
		}
		patterns = append(patterns, "*")
	}
	for i, pattern := range patterns {
		found := a.opts.Certificates.List(pattern)
		// What was imported for a wildcard is for hosts one label below it, and served where somebody answers for them.
		if len(found) > 0 && (!found[0].NoVhost || i == 0 || i == 1 && a.opts.Table().Match(name) != nil) {
			return found[0], true
		}
	}
	return c, false
}

// A RenewRequest says what to order anew: Names, or what ends within Expiring.
type RenewRequest struct {
	Names    []string         `json:"names,omitempty"`
	Expiring *routes.Duration `json:"expiring,omitempty"`
	By       string           `json:"by,omitempty"` // who wants it, for the log
}

// A RenewResult is the answer of POST /certs/renew.
type RenewResult struct {
	Node  string        `json:"node"`
	Asked time.Time     `json:"asked"` // by the node's clock
	Names []RenewAnswer `json:"names"`
}

// A RenewAnswer is what becomes of one name.
type RenewAnswer struct {
	Name    string `json:"name"`
	Ordered bool   `json:"ordered"`         // from the ACME issuer, in a while
	Minted  bool   `json:"minted"`          // by the internal CA, at the next handshake
	Before  string `json:"before"`          // fingerprint of the certificate that was there
	Error   string `json:"error,omitempty"` // why neither
}

// maxCertRequest bounds the JSON of a RenewRequest, which may have many names, and of an ImportRequest.
const maxCertRequest = 4 << 20

func (a *API) renewCerts(w http.ResponseWriter, r *http.Request) error {
	if a.opts.Certificates.Renew == nil || a.opts.Certificates.List == nil {
		return errNoCertificates
	}
	var in RenewRequest
	if err := readJSON(w, r, maxCertRequest, &in); err != nil {
		return err
	}
	if (len(in.Names) > 0) == (in.Expiring != nil) || in.Expiring != nil && *in.Expiring <= 0 {
		return &apiError{http.StatusBadRequest, "say what to renew by names, or by expiring, a time such as 10d", nil}
	}
	out := RenewResult{Node: a.opts.Node, Asked: time.Now(), Names: []RenewAnswer{}}
	if in.Expiring != nil {
		all, err := a.certificates(nil)
		if err != nil {
			return err
		}
		for _, c := range all {
			if c.endsWithin(time.Duration(*in.Expiring), out.Asked) {
				out.Names = append(out.Names, a.renew(c.Name, c.Fingerprint))
			}
		}
	}
	for _, given := range in.Names {
		name, err := routes.CanonicalName(given)
		if err != nil {
			return badName(given, err)
		}
		before := ""
		if found := a.opts.Certificates.List(name); len(found) > 0 {
			before = found[0].Fingerprint
		}
		out.Names = append(out.Names, a.renew(name, before))
	}
	for _, n := range out.Names {
		a.log.Info("certificate to be renewed", "name", n.Name, "ordered", n.Ordered, "by", in.By, "err", n.Error)
	}
	return writeJSON(w, http.StatusOK, out)
}

func (a *API) renew(name, before string) RenewAnswer {
	ordered, err := a.opts.Certificates.Renew(name)
	if err != nil {
		return RenewAnswer{Name: name, Before: before, Error: err.Error()}
	}
	return RenewAnswer{Name: name, Before: before, Ordered: ordered, Minted: !ordered}
}

// An ImportRequest brings a certificate in. Names: for which; none: all that it covers.
type ImportRequest struct {
	Cert  string   `json:"cert"` // PEM: the chain, the leaf first
	Key   string   `json:"key"`  // PEM, without passphrase
	Names []string `json:"names,omitempty"`
	By    string   `json:"by,omitempty"`
}

// An ImportResult is the answer of POST /certs/import.
type ImportResult struct {
	Imported []string `json:"imported"`
	Warnings []string `json:"warnings,omitempty"` // what clients may refuse
}

var errNoImports = &apiError{http.StatusNotImplemented, "this node takes no imported certificates: name files in the vhost's tls.certificate", nil}

// importCert takes a private key: nothing of the request goes into a log or an answer but names.
func (a *API) importCert(w http.ResponseWriter, r *http.Request) error {
	if a.opts.Certificates.Import == nil {
		return errNoImports
	}
	var in ImportRequest
	if err := readJSON(w, r, maxCertRequest, &in); err != nil {
		return err
	}
	names, err := canonicalNames(in.Names)
	if err != nil {
		return err
	}
	if in.Cert == "" || in.Key == "" {
		return &apiError{http.StatusBadRequest, "a certificate needs both its chain (cert) and its private key (key), as PEM text", nil}
	}
	imported, warnings, err := a.opts.Certificates.Import(r.Context(), []byte(in.Cert), []byte(in.Key), names...)
	if err != nil {
		return &apiError{http.StatusUnprocessableEntity, err.Error(), nil}
	}
	a.log.Info("certificate imported", "names", imported, "by", in.By, "warnings", warnings)
	return writeJSON(w, http.StatusOK, ImportResult{imported, warnings})
}

// A RemoveCertRequest says of which names the imported certificate goes.
type RemoveCertRequest struct {
	Names []string `json:"names"`
	By    string   `json:"by,omitempty"`
}

// A RemoveCertResult is the answer of POST /certs/remove.
type RemoveCertResult struct {
	Removed []string            `json:"removed"`
	Failed  []RemoveCertFailure `json:"failed,omitempty"`
}

// A RemoveCertFailure is a name of which nothing was removed, while others were.
type RemoveCertFailure struct {
	Name  string `json:"name"`
	Error string `json:"error"`
}

func (a *API) removeCerts(w http.ResponseWriter, r *http.Request) error {
	if a.opts.Certificates.Remove == nil {
		return errNoImports
	}
	var in RemoveCertRequest
	if err := readJSON(w, r, maxCertRequest, &in); err != nil {
		return err
	}
	names, err := canonicalNames(in.Names)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return &apiError{http.StatusBadRequest, "say of which names", nil}
	}
	var out RemoveCertResult
	var failed []error
	for _, name := range names {
		if err := a.opts.Certificates.Remove(r.Context(), name); err != nil {
			failed = append(failed, err)
			out.Failed = append(out.Failed, RemoveCertFailure{name, err.Error()})
			continue
		}
		out.Removed = append(out.Removed, name)
	}
	if len(out.Removed) == 0 {
		return &apiError{http.StatusUnprocessableEntity, strings.ReplaceAll(errors.Join(failed...).Error(), "\n", "; "), nil}
	}
	a.log.Info("imported certificate removed", "names", out.Removed, "by", in.By)
	return writeJSON(w, http.StatusOK, out)
}

func canonicalNames(given []string) (names []string, err error) {
	for _, text := range given {
		name, err := routes.CanonicalName(text)
		if err != nil {
			return nil, badName(text, err)
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

func badName(given string, err error) error {
	if host, path := routes.SplitName(given); path != "" {
		if _, bad := routes.CanonicalName(host); bad == nil {
			return &apiError{http.StatusBadRequest, fmt.Sprintf("a path vhost has its host's certificate: say %s", host), nil}
		}
	}
	return &apiError{http.StatusBadRequest, fmt.Sprintf("bad name %q: %v", given, err), nil}
}
