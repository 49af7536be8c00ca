#!/bin/sh
# bench-deps.sh GO CADDY_VERSION: what `make bench` compares with. Installs Debian's
# packages of the peers and of wrk when run by root on Debian or a relative, else says
# what to install; builds caddy into bin/. No service is started: a server that gets
# installed stays off, and one that runs goes on. Says what it does, and at the end what
# could not be had; the exit status is then 1.
set -eu
cd "$(dirname "$0")/.."

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]; }

# missing sets what of the packages is not installed.
packages='nginx haproxy varnish hitch wrk libnginx-mod-http-modsecurity modsecurity-crs util-linux'
missing() {
	missing=
	for package in $packages; do
		installed "$package" || missing="$missing $package"
	done
}

# install tries all in one go, then with fresh lists, then one by one: what cannot be had
# must not keep the others away.
install() {
	echo "installing:$missing"
	export DEBIAN_FRONTEND=noninteractive
	# shellcheck disable=SC2086
	apt-get install -y -q --no-install-recommends $missing >/dev/null 2>&1 && return
	echo "the package lists may be old: apt-get update"
	apt-get update -q >/dev/null || echo "apt-get update has failed" >&2
	# shellcheck disable=SC2086
	apt-get install -y -q --no-install-recommends $missing >/dev/null 2>&1 && return
	for package in $missing; do
		echo "installing $package"
		apt-get install -y -q --no-install-recommends "$package" >/dev/null || echo "apt-get cannot install $package" >&2
	done
}

missing
lacking=
if [ -z "$missing" ]; then
	echo "installed already: $packages"
elif [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "missing:$missing" >&2
	echo "on Debian or Ubuntu: sudo apt-get install$missing" >&2
	echo "elsewhere a peer takes part when its program is in the path; nginx and wrk are needed" >&2
	lacking=$missing
else
	# Packages of servers start them, unless this file says no (invoke-rc.d(8)).
	policy=/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ]; then
		trap 'rm -f "$policy"' EXIT
		trap 'exit 1' INT TERM
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
	fi
	install
	missing
	lacking=$missing
fi

if "$1" version -m bin/caddy 2>/dev/null | grep -Fqw "$2"; then
	echo "built already: bin/caddy $2"
else
	echo "building bin/caddy $2, which takes minutes"
	GOBIN="$PWD/bin" "$1" install "github.com/caddyserver/caddy/v2/cmd/caddy@$2" || lacking="$lacking caddy"
fi

if [ -n "$lacking" ]; then
	echo "could not be had:$lacking" >&2
	echo "make bench leaves their peers out, and CHECK=1 fails without them; nginx and wrk are needed" >&2
	exit 1
fi
echo "all that make bench compares with is here"
