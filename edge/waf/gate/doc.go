// Package gate stands in front of the WAF's engine: it says which rules a request can match, so that the
// engine need not be asked about the others, and not at all about a request that can match none.
//
// What it says may be too much and never too little. A rule that it does not understand can match.
package gate
