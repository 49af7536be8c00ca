#!/bin/sh
# noskip.sh PACKAGE ARGUMENT…: `go test -v` of a package with further arguments
# (-run REGEX, -tags …), in which a test that is skipped counts as failed, and so
# does a run without any test: what was not tried is not proven.
set -eu
package=$1
shift
out=$(mktemp) status=$(mktemp)
trap 'rm -f "$out" "$status"' EXIT
# The output is shown as it comes; a pipe would hide the exit status.
{ go test -count=1 -v "$@" "$package" 2>&1 && echo 0 >"$status" || echo $? >"$status"; } | tee "$out"
code=$(cat "$status")
if grep -q '^ *--- SKIP' "$out"; then
	echo "skipped, which counts as failed:" >&2
	grep '^ *--- SKIP' "$out" >&2
	code=1
fi
if grep -q -e 'no tests to run' -e 'no test files' "$out" || ! grep -q '^ *--- ' "$out"; then
	echo "no test of $package was run" >&2
	code=1
fi
exit "$code"
