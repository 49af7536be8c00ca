#!/bin/sh
# fuzz.sh TAGS TIME: runs every fuzz target of the module for TIME each. `go test`
# takes one target of one package at a time, so they are looked up first.
set -eu
tags=$1 time=$2 failed=0
for package in $(go list -tags "$tags" ./...); do
	for target in $(go test -tags "$tags" -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
		echo "== $package $target"
		go test -tags "$tags" -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package" || failed=1
	done
done
exit $failed
