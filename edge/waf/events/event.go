package events

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Verdicts of an Event.
const (
	Block  = "block"  // it was refused
	Detect = "detect" // it would have been refused in the mode block
	Pass   = "pass"   // rules matched, but the score stayed below the threshold
)

// Phases of an Event.
const (
	Request  = "request"
	Response = "response"
)

// The bounds of an event. What is beyond them is cut off, and the event says so.
const (
	MaxRules = 32   // matches; the one that refused on its own and those that score most are kept
	maxTags  = 24   // of a rule
	maxPath  = 1024 // bytes
	maxText  = 256  // bytes of every other text
	maxData  = 128  // bytes of a value
)

// An Event is what the WAF found in one request, or in the answer to it. It is never
// changed once it was given to [Log.Record].
type Event struct {
	Time   time.Time  `json:"time"` // when it was decided
	ID     string     `json:"id"`   // of the request: the node's name stands before the last hyphen
	Node   string     `json:"node"`
	Tenant string     `json:"tenant,omitempty"`
	Vhost  string     `json:"vhost"`
	Client netip.Addr `json:"client"`
	Method string     `json:"method"`
	// Path is the target without its query, as it came; at most 1024 bytes.
	Path string `json:"path"`
	// Phase is Request or Response.
	Phase string `json:"phase"`
	// Mode is detect or block, Verdict one of Block, Detect and Pass.
	Mode    string `json:"mode"`
	Verdict string `json:"verdict"`
	// Score is the anomaly score of the phase; from Threshold on it is refused.
	Score     int `json:"score"`
	Threshold int `json:"threshold"`
	// RefusedBy is the rule among Rules that refuses on its own, whatever the score;
	// 0: none did.
	RefusedBy int `json:"refused_by,omitempty"`
	// Rules are the matches in the rules' order, without bookkeeping; at most 32.
	Rules []Rule `json:"rules"`
	// Cut: not everything fitted. What is proposed from such an event may not be enough.
	Cut bool `json:"cut,omitempty"`
	// LeftOut is how many events of the tenant and of this kind (merely matched,
	// or not) came since the last one that was kept, and were too many to be kept.
	LeftOut int64 `json:"left_out,omitempty"`

	often bool // it is none of its client's first ones in a minute
}

// A Rule is one match: a rule and what it matched.
type Rule struct {
	ID       int      `json:"id"`
	Message  string   `json:"message,omitempty"`
	Severity string   `json:"severity,omitempty"`
	Tags     []string `json:"tags,omitempty"`
	// Target is a variable and a name in it ("ARGS:q"), or a variable alone.
	Target string `json:"target,omitempty"`
	// Data is the beginning of the value as the rule saw it, at most 128 bytes. It
	// must be redacted by whoever makes the event. A client wrote it.
	Data string `json:"data,omitempty"`
	// Score is what the match added to the anomaly score.
	Score int `json:"score"`
	// Partial: Target is not all that the rule matched on.
	Partial bool `json:"partial,omitempty"`
}

// merely reports whether rules matched and nothing came of it.
func (e *Event) merely() bool { return e.Verdict == Pass }

// owner is who the event's room is taken from: its tenant, or the vhost that has none.
func (e *Event) owner() string {
	if e.Tenant == "" {
		return "vhost " + e.Vhost // a tenant's name has no space
	}
	return e.Tenant
}

// fit cuts off what is beyond the bounds.
func (e *Event) fit() {
	if len(e.Rules) > MaxRules {
		rank := func(r *Rule) int {
			if r.ID == e.RefusedBy {
				return math.MaxInt
			}
			return r.Score
		}
		slices.SortStableFunc(e.Rules, func(a, b Rule) int { return cmp.Compare(rank(&b), rank(&a)) })
		e.Rules, e.Cut = slices.Clone(e.Rules[:MaxRules]), true
		slices.SortStableFunc(e.Rules, func(a, b Rule) int { return cmp.Compare(a.ID, b.ID) })
	}
	e.Path = e.cut(e.Path, maxPath)
	for _, text := range []*string{&e.ID, &e.Vhost, &e.Tenant, &e.Method} {
		*text = e.cut(*text, maxText)
	}
	for i := range e.Rules {
		r := &e.Rules[i]
		r.Target, r.Message = e.cut(r.Target, maxText), e.cut(r.Message, maxText)
		r.Data = shorten(r.Data, maxData) // never meant to be whole
		if len(r.Tags) > maxTags {
			r.Tags, e.Cut = r.Tags[:maxTags], true
		}
	}
}

func (e *Event) cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	e.Cut = true
	return shorten(s, most)
}

// shorten does not end within a character, and holds on to nothing that is longer.
func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	end := most
	for end > most-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return strings.Clone(s[:end])
}

// weight is about how many bytes of memory the event holds. Tags are the rules' own,
// which all events share.
func (e *Event) weight() int64 {
	n := 320 + len(e.ID) + len(e.Vhost) + len(e.Tenant) + len(e.Method) + len(e.Path)
	for i := range e.Rules {
		r := &e.Rules[i]
		n += 112 + len(r.Message) + len(r.Severity) + len(r.Target) + len(r.Data)
	}
	return int64(n)
}
