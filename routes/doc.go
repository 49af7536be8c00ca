// Package routes is the vocabulary of Gatehouse: what a vhost and a tenant are,
// how their documents are read and checked, and the immutable table that says
// which vhost answers for a host.
//
// The life of a document:
//
//  1. A Source (a folder of YAML files, Redis) reads it: ParseFile, ParseJSON.
//     Unknown keys, bad values and fields that this version does not act on are
//     Problems with file, line, column and the likely fix.
//  2. The source yields a Change for it in a Batch.
//  3. A Follower folds the batch into its Table. A bad document keeps its last
//     good form; the absence of many documents at once after a reconnect is
//     held back until the operator accepts it (see Follower).
//  4. The server asks Table.Match for the Route of each request's host and keeps
//     what it compiled from it in the Route (Route.Instance).
//
// A Table is never changed: Table.With makes a new one at a cost that depends on
// the number of changes, not on the size of the table.
//
// The package knows no network client, no HTTP library and nothing else of
// Gatehouse; it does not decide what a setting does.
package routes
