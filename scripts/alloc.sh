#!/bin/sh
# alloc.sh TAGS PACKAGE…: the tests of the packages that count allocations, without
# the race detector, which allocates on its own account. Only packages that have such
# tests (their names say Alloc) are built.
set -eu
tags=$1
shift
list=$(mktemp)
trap 'rm -f "$list"' EXIT
go list -tags "$tags" -f '{{.ImportPath}} {{.Dir}}' "$@" >"$list"
set --
while read -r package dir; do
	if grep -qE '^func Test[A-Za-z0-9_]*Alloc' "$dir"/*_test.go 2>/dev/null; then
		set -- "$@" "$package"
	fi
done <"$list"
[ $# -eq 0 ] || go test -tags "$tags" -run Alloc "$@"
