package waf

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/corazawaf/coraza/v3/collection"

	wafrules "gatehouse/waf-rules"
)

// The defaults that a zero field of a [Profile] stands for, and the bounds.
const (
	DefaultInboundThreshold  = 5         // one critical match
	DefaultOutboundThreshold = 4         // one error-level match
	DefaultInspectBody       = 128 << 10 // bytes
	MaxInspectBody           = 64 << 20  // bytes; half of the engine's own limit, which must never act
)

// ErrProfile is what every error of [Profile.Validate] wraps.
var ErrProfile = errors.New("invalid waf profile")

// Profile is one tenant's tuning. The zero value detects at paranoia level 1 with the CRS's own
// thresholds and methods.
//
// A profile must not be changed or copied once it was passed to [Engine.Begin] or its Digest
// was taken. It may be shared by any number of concurrent transactions.
type Profile struct {
	// Mode is what happens with what the rules find. Zero: Detect.
	Mode Mode
	// Paranoia is the CRS paranoia level, 1 to 4: how much suspicion is worth how many false alarms.
	// Zero: 1.
	Paranoia int
	// InboundThreshold is the anomaly score from which a request is refused. A critical match scores 5,
	// an error 4, a warning 3, a notice 2. Zero: 5.
	InboundThreshold int
	// OutboundThreshold is the same for responses. Zero: 4.
	OutboundThreshold int
	// AllowedMethods are the methods that rule 911100 lets pass. Empty: the CRS's own, which are GET,
	// HEAD, POST and OPTIONS.
	AllowedMethods []string
	// AllowedTypes are the content types of requests, in lower case and without parameters, that rule
	// 920420 lets pass. Empty: the CRS's own: forms, multipart/form-data, JSON and XML.
	AllowedTypes []string
	// Exclusions are what of the rules does not apply. What the rules in use do not know of
	// them is passed over, see [Engine.Ignored].
	Exclusions *Exclusions
	// Shared are further exclusions, which many profiles have in common.
	Shared *Shared
	// InspectBody is how many bytes of a request body, and of a response body, are inspected at
	// most. What follows passes uninspected, so an attacker who may send long bodies can hide behind
	// padding; the price of more is processor time: with v3.8.1 a JSON body of 64 KiB costs 0.3 s,
	// and a single form value of 128 KiB of plain words several seconds.
	// Zero: 128 KiB. Not over 64 MiB.
	InspectBody int64
	// OnOversize says what becomes of a request whose body is longer than InspectBody: with Pass what
	// follows is nobody's, with Refuse rules 200100 and 200101 refuse it with status 413 in mode
	// Block, and are listed in mode Detect. An exclusion of them lets some paths take long bodies.
	OnOversize OnError
	// Responses turns phases 3 and 4 on. They cost about as much again per request, and
	// responses must be held back until they were seen.
	Responses bool
	// OnError is what the caller is to do when [Transaction.Err] is not nil. The engine does not read it.
	OnError OnError
	// Share stands for the tenant where the engine remembers values that it has seen: no tenant can take more than his
	// part of that memory, or learn what is in it of others. Profiles of one tenant should have the same, and
	// those of others another one. It changes no verdict.
	Share uint32
	// Own are the tenant's own rules, which see each request before the shared ones do, in this order;
	// see [CompileOwn]. A rule that denies refuses in mode Block and is only listed in mode Detect;
	// no rule lets a request past the others. They add nothing to the anomaly score. No nil among them.
	Own []*OwnRules

	once   sync.Once
	tuning tuning
	summed atomic.Pointer[summed] // with the rules that were last asked about
}

// tuning is a profile with defaults filled in, in the form that a transaction needs.
type tuning struct {
	paranoia, inbound, outbound int
	inspect                     int64
	methods, types              []string               // as rules search them, one text each; nil: the CRS's own
	stance                      atomic.Pointer[stance] // to the gate that was last asked about
}

// summed is a digest of a profile. It does not keep the rules, as plan does not.
type summed struct {
	rules  string // their digest
	digest string // empty if it changes with time
}

// level is the paranoia level that runs; the highest where none was resolved.
func (t *tuning) level() int {
	if t.paranoia < 1 {
		return 4
	}
	return t.paranoia
}

// Validate reports every field out of its bounds, in one error that wraps [ErrProfile]; nil if
// there is none. [Engine.Begin] does not call it, and treats a value out of bounds as the nearest one
// within.
func (p *Profile) Validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: "+format, append([]any{ErrProfile}, args...)...))
	}
	if p.Mode > Off {
		bad("mode %d is unknown", p.Mode)
	}
	if p.Paranoia < 0 || p.Paranoia > 4 {
		bad("paranoia %d is not between 1 and 4", p.Paranoia)
	}
	if p.InboundThreshold < 0 {
		bad("inbound_threshold %d is negative", p.InboundThreshold)
	}
	if p.OutboundThreshold < 0 {
		bad("outbound_threshold %d is negative", p.OutboundThreshold)
	}
	for _, method := range p.AllowedMethods {
		if !isToken(method) {
			bad("allowed_methods: %q is not a method (RFC 9110, section 9.1)", method)
		}
	}
	for _, kind := range p.AllowedTypes {
		if main, sub, ok := strings.Cut(kind, "/"); !ok || !isToken(main) || !isToken(sub) || strings.ContainsAny(kind, "|") {
			bad("allowed_types: %q is not a content type (RFC 9110, section 8.3.1)", kind)
		}
	}
	for _, shared := range p.Shared.Lists() {
		for i, x := range shared.All() {
			if err := checkExclusion(&x); err != nil {
				bad("shared exclusions[%d]: %w", i, err)
			}
		}
	}
	for i, x := range p.Exclusions.All() {
		if err := checkExclusion(&x); err != nil {
			bad("exclusions[%d]: %w", i, err)
		}
	}
	if p.InspectBody < 0 || p.InspectBody > MaxInspectBody {
		bad("inspect_body %d is not between 0 and %d", p.InspectBody, MaxInspectBody)
	}
	if p.OnError > Refuse {
		bad("on_error %d is unknown", p.OnError)
	}
	if p.OnOversize > Refuse {
		bad("on_oversize %d is unknown", p.OnOversize)
	}
	return errors.Join(errs...)
}

// Digest identifies everything in the profile that changes a verdict on a response, together with
// the rule text. Two profiles with equal digests judge every response alike; the order of methods and
// whether a default is written out make no difference, nor do exclusions that only concern
// requests, so that one does not make stored answers unfit. It is computed once for a set, or where an
// exclusion of rules for responses ends some day, each time.
func (p *Profile) Digest(set *wafrules.Set) string {
	have := p.summed.Load()
	if have == nil || have.rules != set.Digest() {
		have = &summed{rules: set.Digest()}
		ends := false
		for x := range p.excluded() {
			ends = ends || x.Until != 0 && x.onResponses(set)
		}
		if !ends {
			have.digest = p.sum(set, time.Time{})
		}
		p.summed.Store(have)
	}
	if have.digest == "" {
		return p.sum(set, time.Now())
	}
	return have.digest
}

// resolve computes the tuning on first use.
func (p *Profile) resolve() *tuning {
	p.once.Do(func() {
		t := &p.tuning
		t.inbound = orDefault(p.InboundThreshold, DefaultInboundThreshold)
		t.outbound = orDefault(p.OutboundThreshold, DefaultOutboundThreshold)
		t.inspect = min(orDefault(p.InspectBody, DefaultInspectBody), MaxInspectBody)
		t.paranoia = min(orDefault(p.Paranoia, 1), 4)
		if len(p.AllowedMethods) > 0 {
			t.methods = []string{strings.Join(distinct(p.AllowedMethods), " ")}
		}
		if len(p.AllowedTypes) > 0 {
			t.types = []string{"|" + strings.Join(distinct(p.AllowedTypes), "| |") + "|"}
		}
	})
	return &p.tuning
}

func (p *Profile) sum(set *wafrules.Set, now time.Time) string {
	t := p.resolve()
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\n%s\n%d\n%t\n%s\n", set.Digest(), p.Mode, t.inspect, p.Responses, p.OnError)
	fmt.Fprintf(sum, "%d %d %d %q %q\n", t.paranoia, t.inbound, t.outbound, t.methods, t.types)
	for x := range p.excluded() {
		if x.onResponses(set) && (x.Until == 0 || now.Unix() < x.Until) {
			fmt.Fprintf(sum, "without %v %q %q %q %q\n", x.Rules, x.Tags, x.Target, x.Paths, x.Methods)
		}
	}
	for _, own := range p.Own {
		fmt.Fprintf(sum, "own %s\n", own.digest)
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// excluded yields all exclusions of the profile.
func (p *Profile) excluded() iter.Seq[*Exclusion] {
	return func(yield func(*Exclusion) bool) {
		for _, lists := range [][]*Exclusions{p.Shared.Lists(), {p.Exclusions}} {
			for _, x := range lists {
				list := x.All()
				for i := range list {
					if !yield(&list[i]) {
						return
					}
				}
			}
		}
	}
}

// apply must run before phase 1: rules 901xxx give a default to each variable not yet set.
// The collection copies the values, so sharing them is safe.
func (t *tuning) apply(tx collection.Map) {
	if t.paranoia > 0 { // else nothing was resolved, and the rules keep their own
		level := decimal(t.paranoia)
		tx.Set("blocking_paranoia_level", level)
		tx.Set("detection_paranoia_level", level)
		tx.Set("inbound_anomaly_score_threshold", decimal(t.inbound))
		tx.Set("outbound_anomaly_score_threshold", decimal(t.outbound))
	}
	if t.methods != nil {
		tx.Set("allowed_methods", t.methods)
	}
	if t.types != nil {
		tx.Set("allowed_request_content_type", t.types)
	}
}

// decimals are the small numbers that nearly all profiles have, made once for all.
var decimals = func() (out [100][]string) {
	for n := range out {
		out[n] = []string{strconv.Itoa(n)}
	}
	return out
}()

// decimal returns a number as the engine takes it. The slice is shared.
func decimal(n int) []string {
	if n >= 0 && n < len(decimals) {
		return decimals[n]
	}
	return []string{strconv.Itoa(n)}
}

// distinct returns the words sorted, each once.
func distinct(words []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(words)))
}

func orDefault[T int | int64](value, otherwise T) T {
	if value <= 0 {
		return otherwise
	}
	return value
}

// isToken reports whether s is a token of RFC 9110, section 5.6.2. A space in a method would make
// two of it in the list that the CRS reads.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}
