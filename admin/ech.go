package admin

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"gatehouse/routes"
)

// An ECHKey is what there is to publish of Encrypted Client Hello (RFC 9849). The zero value: it is off.
type ECHKey struct {
	PublicName string    // that clients show in the clear
	ConfigList []byte    // ECHConfigList of the key that is published now; nil: there is none yet
	Changes    time.Time // when the next key is published
	Until      time.Time // until when the one of now decrypts
	Problem    string    // what is wrong, in plain words; empty: nothing
	Protocols  []string  // that the node's TLS listener speaks, by the names of ALPN
	Port       int       // of https URLs
}

// ECHRecords is the answer of GET /certs/ech: the records of DNS by which clients learn the key.
type ECHRecords struct {
	Node       string      `json:"node"`
	Now        time.Time   `json:"now"` // of the node's clock
	PublicName string      `json:"public_name"`
	ConfigList []byte      `json:"config_list,omitempty"` // ECHConfigList, in base64; absent: there is no key yet
	Changes    time.Time   `json:"changes"`               // publish the records anew then
	Until      time.Time   `json:"until,omitzero"`        // clients with these records take a round trip more from then on
	Problem    string      `json:"problem,omitempty"`
	Records    []ECHRecord `json:"records"`
}

// An ECHRecord is one HTTPS record (RFC 9460). One that the name has already needs the ech parameter added, and not a second record.
type ECHRecord struct {
	Owner string `json:"owner"` // with the root's dot
	TTL   int    `json:"ttl"`   // seconds
	Value string `json:"value"` // what follows the type in a zone's file
}

// echTTL is the records' time to live in seconds: short beside the days for which a key decrypts after it has been replaced.
const echTTL = 3600

var errNoECH = &apiError{http.StatusNotImplemented, "ECH is off: set tls.ech.public_name in gatehouse.yaml", nil}

func (a *API) echRecords(w http.ResponseWriter, r *http.Request) error {
	if a.opts.Certificates.ECH == nil || a.opts.Certificates.List == nil {
		return errNoECH
	}
	key := a.opts.Certificates.ECH()
	if key.PublicName == "" {
		return errNoECH
	}
	q := r.URL.Query()
	for parameter := range q {
		if parameter != "name" {
			return &apiError{http.StatusBadRequest, fmt.Sprintf("unknown parameter %q: want name", parameter), nil}
		}
	}
	names, err := a.echNames(q["name"], key.Port)
	if err != nil {
		return err
	}
	out := ECHRecords{
		Node: a.opts.Node, Now: time.Now(), PublicName: key.PublicName, ConfigList: key.ConfigList,
		Changes: key.Changes, Until: key.Until, Problem: key.Problem, Records: []ECHRecord{},
	}
	if key.ConfigList != nil {
		for _, name := range names {
			out.Records = append(out.Records, ECHRecord{Owner: echOwner(name, key.Port), TTL: echTTL, Value: key.value()})
		}
	}
	return writeJSON(w, http.StatusOK, out)
}

// echNames are the canonical names that records are wanted for: all of the table that DNS can have, or those that were given and a vhost answers for.
func (a *API) echNames(given []string, port int) (names []string, err error) {
	if len(given) == 0 {
		for _, c := range a.opts.Certificates.List() {
			if !c.NoVhost && c.Name != "*" && (port == 443 || !strings.HasPrefix(c.Name, "*")) { // a wildcard has nothing before its asterisk
				names = append(names, c.Name)
			}
		}
		slices.Sort(names)
		return names, nil
	}
	for _, text := range given {
		name, err := routes.CanonicalName(text)
		if err != nil {
			return nil, badName(text, err)
		}
		c, ok := a.certificate(name)
		switch ok = ok && (!c.NoVhost || a.opts.Table().Match(name) != nil); {
		case !ok:
			return nil, &apiError{http.StatusNotFound, "no vhost answers for " + name, nil}
		case name == "*":
			return nil, &apiError{http.StatusBadRequest, "* is no name of DNS: give the names that it answers for", nil}
		case port != 443 && strings.HasPrefix(name, "*"):
			return nil, &apiError{http.StatusBadRequest, fmt.Sprintf("records of port %d have no wildcards: give the names below %s", port, name), nil}
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// echOwner is the owner of a name's record (RFC 9460 section 9.1): that of another port than 443 has it in front.
func echOwner(name string, port int) string {
	if port == 443 {
		return name + "."
	}
	return fmt.Sprintf("_%d._https.%s.", port, name)
}

// value is the record's: the service is at the owner's own addresses.
func (k *ECHKey) value() string {
	return fmt.Sprintf(`1 . alpn=%q ech=%q`, strings.Join(k.Protocols, ","), base64.StdEncoding.EncodeToString(k.ConfigList))
}
