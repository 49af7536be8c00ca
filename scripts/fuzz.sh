#!/bin/sh
# fuzz.sh TAGS TIME [REGEX [PACKAGE…]]: runs every fuzz target of the packages (all
# of the module) that REGEX finds in "PACKAGE TARGET" (all) for TIME each. `go test` takes one
# target of one package at a time, so they are looked up first. A finding is left in
# the package's testdata/fuzz, where it is a seed from then on, and printed. Inputs are
# hardly minimised: by default that takes up to a minute for each, of TIME.
set -eu
tags=$1 time=$2 regex=${3:-.}
shift 2
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- ./...
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if ! go test -tags "$tags" -list '^Fuzz' "$@" >"$work/list"; then
	cat "$work/list"
	exit 1
fi
# The targets of a package stand before its closing line.
awk '/^Fuzz/ {t[++n] = $1} /^ok/ {for (i = 1; i <= n; i++) print $2, t[i]; n = 0}' "$work/list" |
	grep -E -- "$regex" >"$work/targets" || true
if [ ! -s "$work/targets" ]; then
	echo "fuzz: no target matches $regex in $*"
	exit 1
fi

# A package is linked once, not for each of its targets.
corpus=$(go env GOCACHE)/fuzz
failed=0 built=
while read -r package target; do
	echo "== $package $target"
	if [ "$package" != "$built" ]; then
		go test -tags "$tags" -c -fuzz . -o "$work/fuzz.test" "$package"
		built=$package dir=$(go list -tags "$tags" -f '{{.Dir}}' "$package")
	fi
	status=0
	(cd "$dir" && "$work/fuzz.test" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "$time" -test.fuzzminimizetime 10x \
		-test.fuzzcachedir "$corpus/$package") >"$work/out" 2>&1 </dev/null || status=$?
	grep -vE '^fuzz: elapsed: [0-9]+s, gathering' "$work/out" | tail -40
	[ $status -ne 0 ] || continue
	input=$(sed -n 's/.*Failing input written to \(.*\)/\1/p' "$work/out" | tail -1)
	if [ -z "$input" ] && grep -q '^ *context deadline exceeded$' "$work/out" && ! grep -qE '_test\.go:|panic|fuzzing process' "$work/out"; then
		# The time ran out while an input was being tried: no finding.
		continue
	fi
	failed=1
	if [ -n "$input" ]; then
		file=$dir/$input
		echo "== found: $file; commit it with what mends it"
		cat "$file"
	fi
done <"$work/targets"
exit $failed
