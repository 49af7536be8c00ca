// Package admin is the operator's door into a running node: a private JSON API
// that reads and changes vhosts and tenants and tries requests against the WAF,
// and public endpoints for metrics and health.
//
// It is not for visitors' traffic, holds no state of its own, and does not know
// the edge: what it shows comes through the functions in Options, and what it
// changes goes to the routes.Store, from where it comes back into the table as
// any other change does.
//
// Start with New. Private answers on the unix socket that ListenSocket makes
// (mode 0600: whoever may open it may change everything); Public answers on the
// admin listener and changes nothing.
package admin
