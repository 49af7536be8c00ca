package waf

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"

	"github.com/corazawaf/coraza/v3/experimental"
	"github.com/corazawaf/coraza/v3/types"
)

// A front runs a profile's own rules on a request, before the shared ones: in each phase the own rules
// first, so that their verdict is the one that counts. It shares nothing with the shared transaction but
// the strings and bytes of the request.
//
// A front that fails takes no part any more, and the shared rules go on: what is wrong in one tenant's
// rules opens no door to that tenant's site. The failure is [Transaction.Err].
//
// A nil front has no rules and does nothing.
type front struct {
	txs     []engineTx // of each of the profile's texts; none: it has ended
	matches []Match    // once it has ended
	by      int        // once it has ended: the rule that has refused, or would have in mode block; 0: none
	err     error
	matched int  // values, by all rules so far
	blocks  bool // mode Block
}

// begin starts the own rules of the transaction's profile; nil if it has none.
func beginFront(t *Transaction, id string) *front {
	if len(t.profile.Own) == 0 {
		return nil
	}
	f := &front{blocks: t.profile.Mode == Block}
	defer f.rescue("begin transaction", nil)
	counting := context.WithValue(context.Background(), matchedKey{}, &f.matched)
	for _, own := range t.profile.Own {
		tx := own.newTx.NewTransactionWithOptions(experimental.Options{ID: id, Context: counting})
		etx := tx.(engineTx) // the same type as the one that probe.learn has seen
		t.rules.probe.setMode(etx, t.profile.Mode)
		f.txs = append(f.txs, etx)
	}
	return f
}

// rescue is deferred by every method that enters the engine. If the rules matched too much, in mode
// Block that refuses the request: whoever can bring that about must not get past them so.
func (f *front) rescue(doing string, refuse **types.Interruption) {
	r := recover()
	if r == nil {
		return
	}
	over, ok := r.(*matchedTooMuch)
	switch {
	case !ok:
		f.fail(&PanicError{Doing: doing + " (own rules)", Value: r, Stack: debug.Stack()})
	case f.blocks && refuse != nil:
		*refuse = &types.Interruption{Status: http.StatusForbidden, RuleID: over.rule, Action: "deny"}
		f.txs, f.by = nil, over.rule
		f.matches = []Match{{ID: over.rule, Message: fmt.Sprintf("own rules matched more than %d values", maxMatched)}}
	default:
		f.fail(over)
	}
}

// maxMatched is how many values the own rules may match in one request: each is held until the last
// phase, some 200 bytes, and a hundred rules can match a thousand arguments each.
const maxMatched = 10000

// matchedKey leads to the counter in a transaction's context.
type matchedKey struct{}

// matchedTooMuch is thrown out of the engine, which has no other way to end its loop over the rules.
type matchedTooMuch struct{ rule int }

// Error names the rule at which the count was over.
func (m *matchedTooMuch) Error() string {
	return fmt.Sprintf("waf: own rules matched more than %d values in one request, the last was rule %d", maxMatched, m.rule)
}

// countMatched is called by the engine after each rule of a tenant's that matched.
func countMatched(rule types.MatchedRule) {
	inContext, ok := rule.(interface{ Context() context.Context })
	if !ok {
		panic("the engine's matches lack their context")
	}
	counter, ok := inContext.Context().Value(matchedKey{}).(*int)
	if !ok {
		return
	}
	if *counter += len(rule.MatchedDatas()); *counter > maxMatched {
		panic(&matchedTooMuch{rule.Rule().ID()})
	}
}

// fail ends the front. Its transactions are left to the garbage collector: closed, a broken one would be
// handed to the next request.
func (f *front) fail(err error) {
	f.err, f.txs = err, nil
}

func (f *front) connection(client, server netip.AddrPort) {
	if f == nil {
		return
	}
	defer f.rescue("set connection", nil)
	for _, tx := range f.txs {
		tx.ProcessConnection(addrString(client), int(client.Port()), addrString(server), int(server.Port()))
	}
}

func (f *front) request(method, target, proto, host string) {
	if f == nil {
		return
	}
	defer f.rescue("set request line", nil)
	for _, tx := range f.txs {
		tx.ProcessURI(target, method, proto)
		tx.SetServerName(host)
	}
}

func (f *front) requestHeader(name, value string) {
	if f == nil {
		return
	}
	defer f.rescue("add request header", nil)
	for _, tx := range f.txs {
		tx.AddRequestHeader(name, value)
	}
}

// requestHeaders runs phase 1.
func (f *front) requestHeaders() (it *types.Interruption) {
	if f == nil {
		return nil
	}
	defer f.rescue("inspect request headers", &it)
	for _, tx := range f.txs {
		if it = tx.ProcessRequestHeaders(); it != nil {
			f.end()
			return it
		}
	}
	return nil
}

// requestBody runs phase 2 on what the shared rules get to see: the same bytes, read by the same
// parser, whose name is kind. It then ends.
func (f *front) requestBody(kind string, body []byte) (it *types.Interruption) {
	if f == nil {
		return nil
	}
	defer f.rescue("inspect request body", &it)
	for _, tx := range f.txs {
		var err error
		if it, err = runBody(tx, kind, body); err != nil {
			f.fail(fmt.Errorf("waf: inspect request body (own rules): %w", err))
			return nil
		}
		if it != nil {
			break
		}
	}
	f.end()
	return it
}

func runBody(tx engineTx, kind string, body []byte) (*types.Interruption, error) {
	if len(body) > 0 {
		setSingle(tx.Variables().RequestBodyProcessor(), parserOf(kind))
		if it, _, err := tx.WriteRequestBody(body); err != nil || it != nil {
			return it, err
		}
	}
	return tx.ProcessRequestBody()
}

// end keeps what the rules have found, and gives their memory back: what they matched would otherwise be
// held for as long as the response takes.
func (f *front) end() {
	if len(f.txs) == 0 {
		return
	}
	f.matches, f.by = f.found(), f.refusedBy()
	txs := f.txs
	f.txs = nil
	for _, tx := range txs {
		if err := tx.Close(); err != nil {
			f.err = fmt.Errorf("waf: close transaction (own rules): %w", err)
		}
	}
}

// found lists the matches so far, at most half of [MaxMatches]: the rest is for the shared rules.
func (f *front) found() []Match {
	if f == nil {
		return nil
	}
	if len(f.txs) == 0 {
		return slices.Clone(f.matches) // the caller's to append to
	}
	var out []Match
	for _, tx := range f.txs {
		for _, rule := range tx.MatchedRules() {
			if rule.Message() == "" || len(out) >= MaxMatches/2 {
				continue
			}
			out = appendRule(out, rule)
		}
	}
	out = out[:min(len(out), MaxMatches/2)]
	for i := range out {
		out[i].Score = 0 // a tag may look like one of the core rules'
	}
	return out
}

// refusedBy returns the rule that has refused, or would have in mode block; 0: none has.
func (f *front) refusedBy() int {
	if f == nil {
		return 0
	}
	for _, tx := range f.txs {
		if it := tx.Interruption(); it != nil {
			return it.RuleID
		}
		if it := tx.DetectionOnlyInterruption(); it != nil {
			return it.RuleID
		}
	}
	return f.by
}

// close ends a front of which nobody wants to know any more.
func (f *front) close() {
	if f == nil {
		return
	}
	defer f.rescue("close transaction", nil)
	f.end()
}

func (f *front) failure() error {
	if f == nil {
		return nil
	}
	return f.err
}
