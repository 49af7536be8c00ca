package routes

import (
	"encoding/json"
	"time"
)

// HSTS is the Strict-Transport-Security of https answers (RFC 6797 §6.1): in a document
// either its max_age alone or a mapping.
type HSTS struct {
	// MaxAge is how long browsers come back by https only. 0: there is no such field.
	MaxAge Duration `yaml:"max_age" json:"max_age"`
	// Subdomains has that be so for all names below, those of others included.
	Subdomains bool `yaml:"subdomains,omitempty" json:"subdomains,omitempty"`
	// Preload agrees to be entered in browsers' own lists, which take months to leave.
	Preload bool `yaml:"preload,omitempty" json:"preload,omitempty"`
}

// preloadAge is what the browsers' list asks for (hstspreload.org).
const preloadAge = 365 * 24 * time.Hour

type hstsFields HSTS

// UnmarshalJSON reads a duration or an object.
func (h *HSTS) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, &h.MaxAge)
	}
	return decodeStrictJSON(data, (*hstsFields)(h))
}

// MarshalJSON writes the duration alone where that says everything.
func (h HSTS) MarshalJSON() ([]byte, error) {
	if !h.Subdomains && !h.Preload {
		return json.Marshal(h.MaxAge)
	}
	return json.Marshal(hstsFields(h))
}

// MarshalYAML writes the duration alone where that says everything.
func (h HSTS) MarshalYAML() (any, error) {
	if !h.Subdomains && !h.Preload {
		return h.MaxAge, nil
	}
	return hstsFields(h), nil
}

func checkHSTS(field string, h *HSTS) []finding {
	switch {
	case h == nil:
	case (h.Subdomains || h.Preload) && h.MaxAge == 0:
		return []finding{{field: field, reason: "without max_age there is no such field: want one such as 180d"}}
	case h.Preload && (!h.Subdomains || time.Duration(h.MaxAge) < preloadAge):
		return []finding{{field: field + ".preload", reason: "browsers' lists take sites with subdomains: true and a max_age of 365d or more"}}
	}
	return nil
}
