// Package lazydfa says whether a regular expression matches a text, in one look at each of the text's
// characters: a deterministic automaton whose states are made when a text first leads to them.
//
// It answers yes or no and nothing else, exactly as package regexp does. Where a match is and what its groups
// hold is for regexp, which need only be asked after a yes. Of the texts that a firewall looks at, nearly
// all are a no for nearly all of its patterns.
//
// # How it works
//
// The pattern is compiled to a program by regexp/syntax, as regexp itself does. A state of the automaton
// is the set of instructions at which the program may stand, and what kind of character came last. A step
// takes the next character, whose kind decides which of the assertions (^ $ \b \B) hold between the two; so
// a state looks one character ahead, and the end of the text counts as one.
//
// Characters that no instruction tells apart are one class. A table has a row for each state and a column
// for each class, and holds the next state, or zero: not known yet. What is not known is worked out from
// the two sets, under a lock, and entered. Readers take no lock: a row is written once and never
// changed, and a table that grows is replaced by its copy.
//
// A pattern may have exponentially many states. There is a bound; a text that would need more is not
// answered here, see [DFA.Match].
//
// Start with [New].
package lazydfa
