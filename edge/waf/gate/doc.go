// Package gate stands in front of the WAF's engine: it says which rules a request can match, so that the
// engine need not be asked about the others, and not at all about a request that can match none.
//
// What it says may be too much and never too little. A rule that it does not understand can match.
//
// How a gate is made of compiled rules, by [New]:
//
//  1. Each condition of a rule (a [Link]) that looks at values becomes a check. Conditions on how many values there are, and on
//     variables that other rules or the tenant's settings set, stand beside them. A rule can match if all of its conditions can.
//  2. For each check it is worked out what every value has that meets it: words, and sets of bytes (require*.go). All
//     checks together are one [screen]: an automaton of words and a table of bytes.
//  3. For each place where values stand (a spot, such as ARGS_GET) and each name there that rules tell apart (a row), the checks
//     that look there are listed by the sequence of transformations that they ask for.
//
// How a message is looked at, by [Gate.Inspect]: for each of its values,
//
//  1. the cache is asked, which knows of values what was found in them, most often nothing;
//  2. else the transformations of the row's checks are applied, each sequence once, and only where they change anything;
//  3. one look at each text that comes of it leaves those checks whose requirements it has;
//  4. these are decided exactly, by the engine's own operators, and so is what the rest of a chain says, as far as the value tells.
//
// Then the rules are named all of whose conditions hold or may hold, with the helpers that set what they read.
//
// Rules act on each other. Where to read how that is seen to:
//
//   - chains, and variables that other rules set (TX): plan.go, variable.go, named.go; who writes what is read: helpers.go
//   - sections of a paranoia level ([Tenant] has one), and what else skips: level.go, flow.go
//   - rules that skip others or take them away run beside these alone, some are kept always: kept.go
//   - rules that only give variables their first values, and rules that the settings make idle: first.go
//   - what a tenant's settings decide before anything is asked (a stance): tenant.go; rules for requests and for answers
//     are two sides: side.go
//   - what a tenant has excluded ([Spared]), the masks over what was found: inspect.go
//
// What is not here: the rules as compiled are read, requests are taken apart, the engine is run with the rules that were named,
// and all of it is compared while it serves, in package waf (compiled.go, reading.go, gated.go, shadow.go).
//
// The gate knows neither requests nor tenants: whoever reads the message shows it [Values], and a [Tenant] is settings. It
// runs no rule, and gives no verdict.
package gate
