package waf

import "fmt"

// Mode says what a profile does with what the rules find.
type Mode uint8

// The modes. The zero value is Detect: a setting that somebody forgot then neither lets attacks
// pass unseen nor blocks customers.
const (
	Detect Mode = iota // all rules run and matches are reported, but there is never a verdict
	Block              // a match that is bad enough ends the request
	Off                // nothing runs and nothing is reported
)

// String returns the name as it is written in settings: detect, block or off.
func (m Mode) String() string {
	switch m {
	case Detect:
		return "detect"
	case Block:
		return "block"
	case Off:
		return "off"
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// ParseMode reads a name that [Mode.String] writes. Any other text, the empty one too, is an error.
func ParseMode(name string) (Mode, error) {
	for _, m := range []Mode{Detect, Block, Off} {
		if name == m.String() {
			return m, nil
		}
	}
	return Detect, fmt.Errorf("unknown waf mode %q: off, detect or block", name)
}

// OnError says what becomes of a request that cannot be inspected: since the engine itself failed
// ([Transaction.Err]), or its body is longer than what is inspected.
type OnError uint8

// The answers to what is not inspected.
const (
	Pass   OnError = iota // go on uninspected: the site stays up
	Refuse                // refuse the request: nothing passes uninspected
)

// String returns the name as it is written in settings: pass or refuse.
func (o OnError) String() string {
	switch o {
	case Pass:
		return "pass"
	case Refuse:
		return "refuse"
	}
	return fmt.Sprintf("OnError(%d)", uint8(o))
}

// ParseOnError reads a name that [OnError.String] writes. Any other text is an error.
func ParseOnError(name string) (OnError, error) {
	for _, o := range []OnError{Pass, Refuse} {
		if name == o.String() {
			return o, nil
		}
	}
	return Pass, fmt.Errorf("unknown waf on_error %q: pass or refuse", name)
}

// GateMode says what becomes of what the gate says of requests, see package gate.
type GateMode uint8

// The modes of the gate.
const (
	GateOn     GateMode = iota // rules that cannot match are not run
	GateShadow                 // all rules run, and what the gate says is compared with what they find
	GateOff                    // there is none
)

// String returns the name as it is written in settings: on, shadow or off.
func (m GateMode) String() string {
	switch m {
	case GateOn:
		return "on"
	case GateShadow:
		return "shadow"
	case GateOff:
		return "off"
	}
	return fmt.Sprintf("GateMode(%d)", uint8(m))
}

// ParseGateMode reads a name that [GateMode.String] writes. Any other text is an error.
func ParseGateMode(name string) (GateMode, error) {
	for _, m := range []GateMode{GateOn, GateShadow, GateOff} {
		if name == m.String() {
			return m, nil
		}
	}
	return GateOn, fmt.Errorf("unknown waf gate %q: on, shadow or off", name)
}
