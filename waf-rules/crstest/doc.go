// Package crstest runs the regression tests that the CRS's module carries: thousands of requests, each
// with the rules that must match it or must not.
//
// The tests are written for the CRS project's own runner, go-ftw, and its backend, albedo. Their rules are
// kept to here: how a request is put together from a test ([Load]), what the backend answers
// ([Reflect], [Backend]), and when a test passes ([Run]).
//
//  1. [Load] reads the suite: tests of one or more stages, each a request in raw bytes and what is
//     expected of it.
//  2. The caller has something that takes such bytes: an engine ([Parse] takes them apart), or a
//     server's address. [Setup] is what it must be configured with, at paranoia level 4 and only
//     detecting.
//  3. [Run] sends them, compares each [Outcome], and holds the failures to a file of overrides:
//     a failing test without a line fails, and so does a line whose test passes.
//
// A full run is `make crs`; without the environment variable GATEHOUSE_CRS_TESTS=all a run is a
// sample. The package belongs to tests: nothing of it may be in a binary.
package crstest

// Setup is the rule text with which the CRS project runs its tests: the limits that the CRS leaves off by
// default. Without it the tests of these rules fail. It goes before the CRS.
const Setup = `SecAction "id:100001,phase:1,nolog,pass,\
setvar:tx.crs_validate_utf8_encoding=1,\
setvar:tx.arg_name_length=100,\
setvar:tx.arg_length=400,\
setvar:tx.total_arg_length=64000,\
setvar:tx.max_num_args=255,\
setvar:tx.max_file_size=64100,\
setvar:tx.combined_file_sizes=65535"
`
