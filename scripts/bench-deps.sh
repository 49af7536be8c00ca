#!/bin/sh
# bench-deps.sh GO CADDY_VERSION: what `make bench` compares with. Installs Debian's
# packages of the peers and of wrk when run by root on Debian or a relative, else says
# what to install; builds caddy into bin/. No service is started: a server that gets
# installed stays off, and one that runs goes on.
set -eu
cd "$(dirname "$0")/.."

missing=
for package in nginx haproxy varnish hitch wrk libnginx-mod-http-modsecurity modsecurity-crs util-linux; do
	state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
	[ "$state" = installed ] || missing="$missing $package"
done

if [ -n "$missing" ]; then
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
		echo "missing:$missing" >&2
		echo "on Debian or Ubuntu: sudo apt-get install$missing" >&2
		echo "elsewhere a peer takes part when its program is in the path; nginx and wrk are needed" >&2
		exit 1
	fi
	# Packages of servers start them, unless this file says no (invoke-rc.d(8)).
	policy=/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ]; then
		trap 'rm -f "$policy"' EXIT
		trap 'exit 1' INT TERM
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
	fi
	echo "installing:$missing"
	export DEBIAN_FRONTEND=noninteractive
	# The package lists may be old or absent; the second try has fresh ones.
	# shellcheck disable=SC2086
	apt-get install -y -q --no-install-recommends $missing >/dev/null 2>&1 || {
		apt-get update -q
		apt-get install -y -q --no-install-recommends $missing
	}
fi

"$1" version -m bin/caddy 2>/dev/null | grep -Fqw "$2" ||
	GOBIN="$PWD/bin" "$1" install "github.com/caddyserver/caddy/v2/cmd/caddy@$2"
