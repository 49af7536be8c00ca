// Package events keeps what the WAF found: one Event for each request that was
// blocked, would have been, or matched rules without reaching the threshold. An
// operator finds a refused request by its id here, and sees which rule matched
// which parameter of it; what would have to be excluded follows from that.
//
// Events are kept twice. In memory, bounded and shared fairly: when room is short,
// the tenant that holds most gives up its oldest. And in files of JSON lines,
// bounded by age and size, written behind the request by one goroutine. Whatever
// stalls or fails there loses events, which are counted, and never a request.
//
// What a new exclusion needs for its proof is whole in an event: every match with
// its rule, tags, target and score. An exclusion only takes matches away, so the
// score that is left over is the sum of those that it does not cover. Values are
// kept redacted, at most 128 bytes, for the eye alone; queries, header fields
// and bodies are not kept, so a request cannot be sent again from its event.
//
// It knows neither the rules' engine nor HTTP. Start with Open.
package events
