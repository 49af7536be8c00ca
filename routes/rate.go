package routes

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Rates are the limits of a tenant or a vhost, of which each must say yes: in a document one
// mapping, or a list of them. Empty: no limit.
type Rates []Rate

// A Rate is how many requests pass in a time, of each that its key tells apart.
type Rate struct {
	// Requests is how many pass in Per: 1 to 1,000,000.
	Requests int `yaml:"requests" json:"requests"`
	// Per is that time, 1ms to 1d. Default 1s.
	Per Duration `yaml:"per,omitempty" json:"per,omitempty" zero:"must be more than 0s"`
	// Burst is how many pass at once after a pause: 1 to 1,000,000. Default: as many as Requests.
	Burst int `yaml:"burst,omitempty" json:"burst,omitempty" zero:"must be at least 1"`
	// Key is what has a bucket of its own: "ip" (default; of IPv6 each /64), "header:NAME", "cookie:NAME" (each value;
	// a request without one counts by ip), "path" (each path of each vhost, without its query), or "all": there is one bucket.
	Key string `yaml:"key,omitempty" json:"key,omitempty"`
}

// Keys of a Rate; RateHeader and RateCookie stand before a name.
const (
	RateIP     = "ip"
	RatePath   = "path"
	RateAll    = "all"
	RateHeader = "header:"
	RateCookie = "cookie:"
)

// MaxRates is how many limits a document may have: each costs a look-up per request.
const MaxRates = 8

// Bounds of a Rate.
const (
	maxRequests    = 1_000_000
	minRatePer     = time.Millisecond
	maxRatePer     = 24 * time.Hour // more than a day asks for a count that outlives a restart
	maxRefill      = 30 * 24 * time.Hour
	maxRateKeyName = 100
)

type rateFields Rate

// UnmarshalJSON reads an object or a list of objects.
func (r *Rates) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '{' {
		var one rateFields
		if err := decodeStrictJSON(data, &one); err != nil {
			return err
		}
		*r = Rates{Rate(one)}
		return nil
	}
	var list []Rate
	if err := decodeStrictJSON(data, &list); err != nil {
		return err
	}
	*r = list
	return nil
}

// MarshalJSON writes a mapping alone where there is one, as people do.
func (r Rates) MarshalJSON() ([]byte, error) {
	if len(r) == 1 {
		return json.Marshal(r[0])
	}
	return json.Marshal([]Rate(r))
}

// MarshalYAML does the same.
func (r Rates) MarshalYAML() (any, error) {
	if len(r) == 1 {
		return r[0], nil
	}
	return []Rate(r), nil
}

// WithDefaults returns r with what is not set at its default.
func (r Rate) WithDefaults() Rate {
	r.Per = or(r.Per, Duration(time.Second))
	r.Burst = or(r.Burst, r.Requests)
	r.Key = or(r.Key, RateIP)
	return r
}

// String says it in words: "100 per 1s by ip, burst 200".
func (r Rate) String() string {
	r = r.WithDefaults()
	by := " by " + r.Key
	if r.Key == RateAll {
		by = " of all"
	}
	text := strconv.Itoa(r.Requests) + " per " + r.Per.String() + by
	if r.Burst != r.Requests {
		text += ", burst " + strconv.Itoa(r.Burst)
	}
	return text
}

func (r Rates) withDefaults() Rates {
	out := make(Rates, len(r))
	for i := range r {
		out[i] = r[i].WithDefaults()
	}
	return out
}

// checkRates also writes keys back in the case in which they are compared.
func checkRates(field string, rates Rates) []finding {
	if len(rates) > MaxRates {
		return []finding{{field: field, reason: fmt.Sprintf("%d limits: at most %d", len(rates), MaxRates)}}
	}
	var out []finding
	for i := range rates {
		at := field
		if len(rates) > 1 {
			at += "[" + strconv.Itoa(i) + "]"
		}
		out = append(out, checkRate(at, &rates[i])...)
	}
	return out
}

func checkRate(field string, r *Rate) []finding {
	var out []finding
	switch {
	case r.Requests == 0:
		out = append(out, finding{field: field + ".requests", missing: true, reason: "a rate needs a number of requests, such as {requests: 100, per: 1s}"})
	case r.Requests < 0 || r.Requests > maxRequests:
		out = append(out, finding{field: field + ".requests", reason: fmt.Sprintf("%d requests: want 1 to %d", r.Requests, maxRequests)})
	}
	if per := time.Duration(r.Per); per != 0 && (per < minRatePer || per > maxRatePer) {
		out = append(out, finding{field: field + ".per", reason: fmt.Sprintf("bad time %q: want 1ms to 1d", r.Per.String())})
	}
	if r.Burst < 0 || r.Burst > maxRequests {
		out = append(out, finding{field: field + ".burst", reason: fmt.Sprintf("a burst of %d: want 1 to %d", r.Burst, maxRequests)})
	}
	out = append(out, checkRateKey(field+".key", r)...)
	if len(out) > 0 {
		return out
	}
	whole := r.WithDefaults()
	if refill := time.Duration(whole.Per) / time.Duration(whole.Requests) * time.Duration(whole.Burst); refill > maxRefill {
		out = append(out, finding{field: field + ".burst", reason: fmt.Sprintf("at %d per %v it would take more than 30d until a burst of %d is there again: want a smaller one", whole.Requests, whole.Per, whole.Burst)})
	}
	return out
}

// claimsOfAddress are fields in which clients may write whatever they like.
var claimsOfAddress = []string{"x-forwarded-for", "forwarded", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip"}

func checkRateKey(field string, r *Rate) []finding {
	switch r.Key {
	case "", RateIP, RatePath, RateAll:
		return nil
	}
	if name, ok := strings.CutPrefix(r.Key, RateHeader); ok {
		lower := strings.ToLower(name)
		switch {
		case !isToken(name) || len(name) > maxRateKeyName:
			return []finding{{field: field, reason: fmt.Sprintf("bad key %q: want the name of a header field, such as header:X-Api-Key", shortText(r.Key))}}
		case slices.Contains(claimsOfAddress, lower):
			return []finding{{field: field, guess: RateIP, reason: fmt.Sprintf("clients may write %s as they like: ip goes by what trusted_proxies say", name)}}
		}
		r.Key = RateHeader + lower
		return nil
	}
	if name, ok := strings.CutPrefix(r.Key, RateCookie); ok {
		if !isToken(name) || len(name) > maxRateKeyName {
			return []finding{{field: field, reason: fmt.Sprintf("bad key %q: want the name of a cookie, such as cookie:session", shortText(r.Key))}}
		}
		return nil
	}
	return []finding{{
		field: field, guess: Nearest(r.Key, []string{RateIP, RatePath, RateAll}),
		reason: fmt.Sprintf("bad key %q: want ip, path, all, header:NAME or cookie:NAME", shortText(r.Key)),
	}}
}
