// Package health keeps what is known of backends beside their answers: which of them an administrator drains, and what active
// checks find. Answers are the business of package balance.
//
// A Register holds the drains of one node, in memory for requests and in a file for the next process. A Prober checks backends
// at intervals. Where nodes share a Redis, a Shared brings drains and findings to all of them, within half a second or so, and a
// lease has one node check for all; redishealth has one. A Leaving does without what is shared for a process whose place another has
// taken: what is under way in it counts. The package neither knows what a pool is nor opens a connection: whoever
// makes a Register and a Prober gives them what to tell, and how to check.
package health
