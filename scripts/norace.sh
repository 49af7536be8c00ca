#!/bin/sh
# norace.sh TAGS PACKAGE…: what make test runs without the race detector: the tests that count allocations (their names
# say Alloc), since it allocates on its own account, and those that call edgetest.Sequential(t) first thing, in which nothing
# runs beside anything, so that it would find nothing, and take tenfold the time. Only packages that have such tests are built.
set -eu
tags=$1
shift
list=$(mktemp)
trap 'rm -f "$list"' EXIT
go list -tags "$tags" -f '{{.ImportPath}} {{.Dir}}' "$@" >"$list"
set --
names=Alloc
while read -r package dir; do
	if grep -qE '^func Test[A-Za-z0-9_]*Alloc|^	edgetest\.Sequential\(t\)' "$dir"/*_test.go 2>/dev/null; then
		set -- "$@" "$package"
		more=$(awk '/^func Test/ {name = $2; sub(/\(.*/, "", name)} /^\tedgetest\.Sequential\(t\)/ {printf "|^%s$", name}' "$dir"/*_test.go)
		names=$names$more
	fi
done <"$list"
[ $# -eq 0 ] || go test -tags "$tags" -run "$names" "$@"
