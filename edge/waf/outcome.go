package waf

import "strconv"

// Verdict returns the verdict given so far, or nil.
func (t *Transaction) Verdict() *Verdict {
	if t == nil {
		return nil
	}
	return t.verdict
}

// Err is not nil if the engine failed: a *[PanicError], [ErrClosed] or an error of its buffers. The shared
// rules, or the tenant's own, have then not seen the whole of the request. The caller goes by the profile's OnError: with Pass it
// goes on, with Refuse it refuses the request.
func (t *Transaction) Err() error {
	if t == nil {
		return nil
	}
	if t.err == nil {
		return t.front.failure()
	}
	return t.err
}

// Digest is that of the profile with the rules that judge this transaction, see [Profile.Digest]; empty
// if nothing judges it. It may be asked for after Close.
func (t *Transaction) Digest() string {
	if t == nil || t.rules == nil {
		return ""
	}
	return t.profile.Digest(t.rules.set)
}

// Score is the request's anomaly score, as of the last phase that was run. In mode Block a request
// refused by a rule of its own (status 400) may have none.
func (t *Transaction) Score() int {
	return t.txNumber("blocking_inbound_anomaly_score")
}

// OutboundScore is the response's anomaly score.
func (t *Transaction) OutboundScore() int {
	return t.txNumber("blocking_outbound_anomaly_score")
}

func (t *Transaction) txNumber(name string) int {
	if t == nil || t.tx == nil {
		return 0
	}
	if values := t.tx.Variables().TX().Get(name); len(values) > 0 {
		if n, err := strconv.Atoi(values[0]); err == nil {
			return n
		}
	}
	return 0
}

// WouldBlock reports what mode Block would have done so far: a score has reached its threshold, or a
// rule that refuses on its own has matched. In mode Block it is true if there is a verdict.
func (t *Transaction) WouldBlock() bool {
	if t == nil || !t.begun {
		return t.Verdict() != nil
	}
	if t.tx == nil {
		return t.verdict != nil || t.front.refusedBy() != 0
	}
	return t.verdict != nil || t.front.refusedBy() != 0 || t.tx.DetectionOnlyInterruption() != nil ||
		t.Score() >= t.tuning.inbound || t.OutboundScore() >= t.tuning.outbound
}

// RefusedBy returns the rule that refused the request or its response, or would have in mode
// Block; 0: none did. For a score over its threshold that is a bookkeeping rule, as in [Verdict].
func (t *Transaction) RefusedBy() int {
	if v := t.Verdict(); v != nil {
		return v.RuleID
	}
	if t == nil || !t.begun {
		return 0
	}
	if by := t.front.refusedBy(); by != 0 || t.tx == nil {
		return by
	}
	if it := t.tx.DetectionOnlyInterruption(); it != nil {
		return it.RuleID
	}
	return 0
}

func (t *Transaction) outcome() outcome {
	switch {
	case t.Err() != nil:
		return outcomeFailed
	case t.verdict != nil:
		return outcomeBlocked
	case t.WouldBlock():
		return outcomeWouldBlock
	}
	return outcomeClean
}
