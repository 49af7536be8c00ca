// Package seclang reads the rules that a tenant writes: the part of ModSecurity's rule language that
// looks at one request and refuses it, and nothing that reaches a file, a program, the network, the
// engine's settings, another tenant, or more memory and time than a tenant may use.
//
// What is taken is a list. The engine behind it (Coraza v3.8.1) takes more than its documents say, and
// each release more than the one before: a list of what is forbidden would be a list of what is known.
//
// [Read] is the only entrance. The engine never sees a tenant's text: it gets [Set.Directives], which
// is written here from what was understood, one directive a line and every value quoted. So a
// construct that the engine's own parser reads in another way than this one has no way through.
//
// Reading compiles nothing, keeps nothing and is safe for concurrent use.
package seclang
