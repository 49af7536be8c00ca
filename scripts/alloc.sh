#!/bin/sh
# alloc.sh TAGS PACKAGE…: the tests of the packages that count allocations, without
# the race detector, which allocates on its own account. Only packages that have such
# tests (their names say Alloc) are built.
set -eu
tags=$1
shift
dirs=$(go list -tags "$tags" -f '{{.Dir}}' "$@")
packages=
for dir in $dirs; do
	if grep -lqE '^func Test[A-Za-z0-9_]*Alloc' "$dir"/*_test.go 2>/dev/null; then
		packages="$packages $dir"
	fi
done
[ -n "$packages" ] || exit 0
# shellcheck disable=SC2086 # a folder of Go packages has no spaces
exec go test -tags "$tags" -run Alloc $packages
