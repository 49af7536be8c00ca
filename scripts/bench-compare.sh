#!/bin/sh
# bench-compare.sh GO TAGS BASE: the Go benchmarks of BASE, a git ref, beside those of
# the working tree as it stands, compared by benchstat. Both take turns, so that what
# drifts on the machine hits both. From the environment: BENCH (a regex of benchmarks),
# PKGS, COUNT (rounds) and TIME (of each benchmark in a round). What only one of the two
# has is shown for that one. The raw results stay in bin/bench-compare.
set -eu
go=$1 tags=$2 base=$3
bench=${BENCH:-'^Benchmark(Chain|Link|AccessLine|Hit|GetCertificateLoaded|Match|Pick|RoundTrip|Request|GET)$'}
packages=${PKGS:-./edge ./edge/wire ./edge/upstream ./edge/waf ./edge/balance ./cache ./acme ./routes}
count=${COUNT:-6}
time=${TIME:-300ms}

refuse() {
	echo "bench-compare: $1" >&2
	exit 2
}
[ -n "$base" ] || refuse 'what to compare with? make bench-compare BASE=main, or any other commit, branch or tag'
case $count in
'' | 0 | *[!0-9]*) refuse "COUNT=$count is no number of rounds" ;;
esac
root=$(git rev-parse --show-toplevel 2>/dev/null) || refuse 'this is no git repository, so there is no BASE'
commit=$(git rev-parse --verify --quiet --end-of-options "$base^{commit}") ||
	refuse "BASE=$base is no commit, branch or tag of this repository (a shallow clone has few: git fetch --unshallow)"
cd "$root"
# shellcheck disable=SC2086 # several packages
packages=$("$go" list -tags "$tags" -f '{{.Dir}}' $packages | sed "s|^$root|.|")
[ -n "$packages" ] || refuse "there is no package to measure"

work=$(mktemp -d)
clean() {
	git worktree remove --force "$work/base" 2>/dev/null || rm -rf "$work/base"
	rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
git worktree add --quiet --detach "$work/base" "$commit"

# build SIDE DIR: one test binary for each package that DIR has.
build() {
	mkdir -p "$work/bin/$1"
	n=0
	for package in $packages; do
		n=$((n + 1))
		if [ ! -d "$2/$package" ]; then
			echo "bench-compare: $1 has no $package" >&2
			continue
		fi
		"$go" -C "$2" test -tags "$tags" -c -o "$work/bin/$1/$n" "$package" >"$work/log" 2>&1 || {
			cat "$work/log" >&2
			echo "bench-compare: $package of $1 does not build" >&2
			exit 1
		}
	done
}
# round SIDE DIR: every benchmark once, in its package's folder.
round() {
	n=0
	for package in $packages; do
		n=$((n + 1))
		[ -x "$work/bin/$1/$n" ] || continue # it has no tests
		(cd "$2/$package" && "$work/bin/$1/$n" -test.run '^$' -test.bench "$bench" -test.benchtime "$time" -test.benchmem) >"$work/log" 2>&1 || {
			cat "$work/log" >&2
			echo "bench-compare: a benchmark in $package of $1 fails" >&2
			exit 1
		}
		cat "$work/log" >>"$out/$1.txt"
	done
}

build base "$work/base"
build new "$root"
out=$root/bin/bench-compare
mkdir -p "$out"
: >"$out/base.txt"
: >"$out/new.txt"
i=0
while [ $i -lt "$count" ]; do
	i=$((i + 1))
	echo "bench-compare: round $i of $count" >&2
	round base "$work/base"
	round new "$root"
done
grep -q '^Benchmark' "$out/base.txt" "$out/new.txt" || refuse "no benchmark in $packages matches $bench"
"$go" -C tools tool benchstat "base=$out/base.txt" "new=$out/new.txt"
