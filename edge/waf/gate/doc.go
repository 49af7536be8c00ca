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
// The gate knows neither requests nor tenants: whoever reads the message shows it [Values], and a [Tenant] is settings. It
// runs no rule, and gives no verdict.
package gate
