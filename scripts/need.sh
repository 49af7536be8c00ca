#!/bin/sh
# need.sh PROGRAM…: installs the Debian packages of the programs that are missing
# when run by root on Debian or a relative; else says what to install and fails.
set -eu

missing=
for program; do
	command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
done
[ -n "$missing" ] || exit 0

packages=
for program in $missing; do
	case $program in
	docker | dockerd) packages="$packages docker.io" ;;
	ip | ss) packages="$packages iproute2" ;;
	redis-cli) packages="$packages redis-tools" ;;
	prlimit) packages="$packages util-linux" ;;
	*) packages="$packages $program" ;;
	esac
done

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "missing:$missing" >&2
	echo "on Debian or Ubuntu: sudo apt-get install$packages" >&2
	exit 1
fi
echo "installing:$packages"
export DEBIAN_FRONTEND=noninteractive
# The package lists may be old or absent; the second try has fresh ones.
# shellcheck disable=SC2086
apt-get install -y -q --no-install-recommends $packages >/dev/null 2>&1 || {
	apt-get update -q
	apt-get install -y -q --no-install-recommends $packages
}
