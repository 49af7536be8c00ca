package acme

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// A record is an issued certificate as it is kept: on disk, and sealed where nodes share it.
type record struct {
	// Generation is raised where a certificate must go before its time, so that the next one wins over it even if it is valid for
	// less long.
	Generation uint64 `json:"generation,omitempty"`
	// Directory is that of the issuer.
	Directory string `json:"directory"`
	// PEM is the key and the chain.
	PEM string `json:"pem"`
	// Names are those that a set was ordered for; none: the name that it is kept under alone.
	Names []string `json:"names,omitempty"`
	// Removed: there is none any more, which those who were away have to learn, too.
	Removed bool `json:"removed,omitempty"`
}

var errRemoved = errors.New("it was removed")

var errOtherIssuer = errors.New("it is of an issuer that the settings do not name")

// parseRecord reads a record; what earlier versions have written is PEM alone.
func parseRecord(text []byte) (r record, err error) {
	if block, _ := pem.Decode(text); block != nil {
		return record{PEM: string(text)}, nil
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("record of a certificate: %w", err)
	}
	return r, nil
}

func (r *record) encode() []byte {
	text, _ := json.Marshal(r) // strings and a number: cannot fail
	return text
}

// leaf is the certificate that is kept under a name.
func (r *record) leaf(source Source, name string) (*leaf, error) {
	if r.Removed {
		return nil, errRemoved
	}
	l, err := parsePair(source, []byte(r.PEM), []byte(r.PEM))
	if err != nil {
		return nil, err
	}
	names := r.Names
	if names == nil {
		names = []string{name}
	}
	if !l.fitsAll(names) {
		return nil, fmt.Errorf("certificate is for %s", strings.Join(l.names, ", "))
	}
	l.generation, l.directory = r.Generation, r.Directory
	return l, nil
}
