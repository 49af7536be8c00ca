package waf

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"gatehouse/waf-rules/crstest"
)

// An exchange is a request, the answer to it, and how both are shown to an engine.
type exchange struct {
	crstest.Request
	client netip.AddrPort
	length int64 // of the body as its head announces; negative: it does not
	cut    bool  // the body was longer

	answer *crstest.Answer // nil: none

	paranoia, tuning int
}

func (x *exchange) String() string {
	out := fmt.Sprintf("paranoia %d, tuning %d, from %s: %.200q %.2000q %d bytes %.4000q, length %d, cut %t",
		x.paranoia, x.tuning, x.client, []string{x.Method, x.Target, x.Proto, x.Host}, x.Fields, len(x.Body), x.Body, x.length, x.cut)
	if x.answer != nil {
		out += fmt.Sprintf(", answer %d %.500q %.4000q", x.answer.Status, x.answer.Fields, x.answer.Body)
	}
	return out
}

// A report is all that an engine says of an exchange, as far as anybody asks.
type report struct {
	text  string
	rules []int // that matched
}

// said shows an exchange to an engine as the edge does. Of the rules that are chains it is not told on what
// they matched: the engine takes the last of many, in the order of a map.
func said(e *Engine, p *Profile, x *exchange, chains map[int]bool) report {
	tx := e.Begin(p, "identity")
	defer tx.Close()
	var r report
	r.text = "request " + showRequest(tx, x)
	r.add(tx, chains)
	if x.answer != nil && tx.Verdict() == nil {
		r.text += "\nanswer " + showAnswer(tx, x)
		r.add(tx, chains)
	}
	return r
}

// showRequest returns what the engine said on the way.
func showRequest(tx *Transaction, x *exchange) string {
	tx.Connection(x.client, netip.MustParseAddrPort("127.0.0.1:80"))
	tx.Request(x.Method, x.Target, x.Proto, x.Host)
	for _, f := range x.Fields {
		tx.RequestHeader(f[0], f[1])
	}
	tx.RequestLength(x.length)
	if verdict := tx.RequestHeaders(); verdict != nil {
		return fmt.Sprintf("refused by its head: %+v", *verdict)
	}
	wants := tx.WantsBody()
	if wants {
		for body := x.Body; len(body) > 0; { // in pieces, as from a connection
			n := min(1000, len(body))
			tx.WriteRequestBody(body[:n])
			body = body[n:]
		}
	}
	if verdict := tx.RequestBody(x.cut); verdict != nil {
		return fmt.Sprintf("refused: %+v", *verdict)
	}
	return fmt.Sprintf("passed, body wanted %t", wants)
}

func showAnswer(tx *Transaction, x *exchange) string {
	kind := ""
	for _, f := range x.answer.Fields {
		tx.ResponseHeader(f[0], f[1])
		if strings.EqualFold(f[0], "Content-Type") {
			kind = f[1]
		}
	}
	if verdict := tx.ResponseHeaders(x.answer.Status, "HTTP/1.1"); verdict != nil {
		return fmt.Sprintf("withheld by its head: %+v", *verdict)
	}
	wants := tx.WantsResponseBody(kind)
	if wants {
		tx.WriteResponseBody(x.answer.Body)
	}
	if verdict := tx.ResponseBody(); verdict != nil {
		return fmt.Sprintf("withheld: %+v", *verdict)
	}
	return fmt.Sprintf("passed, body wanted %t", wants)
}

// add asks what the edge asks for its log.
func (r *report) add(tx *Transaction, chains map[int]bool) {
	matches := tx.Matches()
	r.text += fmt.Sprintf("; score %d and %d, would block %t, refused by %d, error %v, rules", tx.Score(), tx.OutboundScore(), tx.WouldBlock(), tx.RefusedBy(), tx.Err())
	whole := len(matches) < MaxMatches
	for len(matches) > 0 {
		n := 1
		for n < len(matches) && matches[n].ID == matches[0].ID {
			n++
		}
		r.text += " " + strconv.Itoa(matches[0].ID)
		r.rules = append(r.rules, matches[0].ID)
		switch {
		case chains[matches[0].ID]:
			r.text += fmt.Sprintf("+%d", matches[0].Score)
		case whole || n < len(matches): // else it was cut, anywhere
			r.text += "{" + targetsOf(matches[:n]) + "}"
		}
		matches = matches[n:]
	}
}

// targetsOf lists what one rule matched. Its order is that of a map.
func targetsOf(matches []Match) string {
	var all []string
	for _, m := range matches {
		if len(m.Target) >= maxData-utf8.UTFMax { // a name that is cut stands for several values: which one is told is chance
			m.Data = ""
		}
		all = append(all, fmt.Sprintf("%s+%d %q %t", m.Target, m.Score, m.Data, m.Partial))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
