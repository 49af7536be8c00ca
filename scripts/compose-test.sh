#!/bin/sh
# compose-test.sh: docker-compose.yml and the compose blocks of README.md, with
# real containers. Needs ports 80 and 443. Nothing is pulled: base images are
# made from what this machine has (REAL_IMAGES=1 uses the public ones instead).
# Whatever cannot be tried counts as failed. All that it starts it also ends.
set -eu

cd "$(dirname "$0")/.."
root=$PWD
tmp=$(mktemp -d /tmp/gatehouse-compose.XXXXXX)
dockerd_pid=
failed=0

say() { printf '%s\n' "$*"; }
good() { say "ok      $*"; }
bad() {
	say "FAILED  $*"
	failed=1
}

compose() {
	if docker compose version >/dev/null 2>&1; then
		docker compose -p gatehouse-test "$@"
	else
		docker-compose -p gatehouse-test "$@"
	fi
}

cleanup() {
	status=$?
	trap - EXIT INT TERM
	if [ $status -ne 0 ] || [ $failed -ne 0 ]; then
		[ ! -f "$tmp/up" ] || compose logs --tail 40 2>&1 | tail -80 || true
	fi
	[ ! -f "$tmp/up" ] || compose --profile acme down -v --remove-orphans >"$tmp/down.log" 2>&1 || true
	if [ -n "$dockerd_pid" ]; then
		kill "$dockerd_pid" 2>/dev/null || true
		wait "$dockerd_pid" 2>/dev/null || true
	fi
	rm -rf "$tmp" 2>/dev/null || true
	exit $status
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# --- what it takes -----------------------------------------------------------

scripts/need.sh docker dockerd curl redis-server redis-cli
docker compose version >/dev/null 2>&1 || scripts/need.sh docker-compose

if ! docker info >/dev/null 2>&1; then
	[ "$(id -u)" = 0 ] || {
		say "no docker daemon answers, and only root can start one" >&2
		exit 1
	}
	export DOCKER_HOST="unix://$tmp/docker.sock"
	dockerd --data-root "$tmp/docker" --exec-root "$tmp/exec" --pidfile "$tmp/docker.pid" -H "$DOCKER_HOST" >"$tmp/dockerd.log" 2>&1 &
	dockerd_pid=$!
	tries=0
	until docker info >/dev/null 2>&1; do
		tries=$((tries + 1))
		if [ $tries -gt 60 ] || ! kill -0 "$dockerd_pid" 2>/dev/null; then
			tail -5 "$tmp/dockerd.log" >&2
			say "dockerd does not start" >&2
			exit 1
		fi
		sleep 1
	done
fi

# with_libs TREE PROGRAM…: copies programs and the libraries they load into TREE.
with_libs() {
	tree=$1
	shift
	for program; do
		path=$(command -v "$program")
		mkdir -p "$tree/usr/bin"
		cp -L "$path" "$tree/usr/bin/$program"
		for lib in $(ldd "$path" 2>/dev/null | grep -o '/[^ ]*' || true); do
			mkdir -p "$tree$(dirname "$lib")"
			cp -L "$lib" "$tree$lib"
		done
	done
}

# base TREE: what every image has.
base() {
	mkdir -p "$1/etc" "$1/root" "$1/tmp"
	chmod 1777 "$1/tmp"
	printf 'root:x:0:0:root:/root:/bin/sh\nnonroot:x:65532:65532:nonroot:/tmp:/none\n' >"$1/etc/passwd"
	printf 'root:x:0:\nnonroot:x:65532:\n' >"$1/etc/group"
}

# import_image TREE NAME CHANGE…: makes an image of the tree.
import_image() {
	tree=$1 name=$2
	shift 2
	set -- "$@" -
	tar -C "$tree" -c . | docker import "$@" "$name" >/dev/null
}

stand_ins() {
	export GO_IMAGE=gatehouse-standin-go RUN_IMAGE=gatehouse-standin-run REDIS_IMAGE=gatehouse-standin-redis
	export PEBBLE_IMAGE=gatehouse-standin-pebble

	# Debian's redis, as the official image has it.
	base "$tmp/redis"
	with_libs "$tmp/redis" redis-server redis-cli
	mkdir -p "$tmp/redis/data"
	import_image "$tmp/redis" "$REDIS_IMAGE" -c 'WORKDIR /data'

	# An empty system with roots of trust, as distroless has it.
	base "$tmp/run"
	mkdir -p "$tmp/run/etc/ssl/certs"
	[ ! -f /etc/ssl/certs/ca-certificates.crt ] || cp -L /etc/ssl/certs/ca-certificates.crt "$tmp/run/etc/ssl/certs/"
	import_image "$tmp/run" "$RUN_IMAGE"

	# This machine's Go and exactly the modules of go.mod, so that the Dockerfile builds for real, offline.
	base "$tmp/go"
	with_libs "$tmp/go" sh mkdir
	ln -s usr/bin "$tmp/go/bin"
	mkdir -p "$tmp/go/usr/local" "$tmp/go/go/pkg"
	cp -a "$(go env GOROOT)" "$tmp/go/usr/local/go"
	GOPROXY="file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY)" GOMODCACHE="$tmp/go/go/pkg/mod" \
		GOFLAGS=-modcacherw go mod download
	import_image "$tmp/go" "$GO_IMAGE" -c 'ENV PATH=/usr/local/go/bin:/usr/bin' -c 'ENV GOPATH=/go' \
		-c 'ENV GOPROXY=off' -c 'ENV GOTOOLCHAIN=local' -c 'ENV HOME=/root'

	# pebble with its test certificates, as the official image has it.
	base "$tmp/pebble"
	CGO_ENABLED=0 go -C tools build -o "$tmp/pebble/app" github.com/letsencrypt/pebble/v2/cmd/pebble
	cp -r "$(go -C tools list -m -f '{{.Dir}}' github.com/letsencrypt/pebble/v2)/test" "$tmp/pebble/test"
	chmod -R u+w "$tmp/pebble/test"
	import_image "$tmp/pebble" "$PEBBLE_IMAGE" -c 'ENTRYPOINT ["/app"]' -c 'VOLUME /test'

	rm -rf "$tmp/redis" "$tmp/run" "$tmp/pebble"
	chmod -R u+w "$tmp/go" && rm -rf "$tmp/go"
}

# healthy SERVICE: waits until the service's health check passes.
healthy() {
	tries=0
	while :; do
		id=$(compose --profile acme ps -q "$1" 2>/dev/null || true)
		state=$(docker inspect -f '{{.State.Health.Status}}' "$id" 2>/dev/null || echo absent)
		[ "$state" != healthy ] || return 0
		tries=$((tries + 1))
		if [ $tries -gt 120 ]; then
			say "        $1 is $state; its last check: $(docker inspect -f '{{range .State.Health.Log}}{{.Output}}{{end}}' "$id" 2>/dev/null | tail -1)"
			return 1
		fi
		sleep 1
	done
}

# --- the test ----------------------------------------------------------------

if [ "${REAL_IMAGES:-}" != 1 ]; then
	say "making base images of what this machine has"
	stand_ins
fi

export EDGE_IMAGE=gatehouse-test:local
touch "$tmp/up"

# The README's compose blocks, in order, each with the outcome it announces.
cat >"$tmp/prelude.sh" <<-END
	set -eu
	docker() {
		if [ "\$1" = compose ] && ! command docker compose version >/dev/null 2>&1; then
			shift
			command docker-compose -p gatehouse-test "\$@"
		elif [ "\$1" = compose ]; then
			shift
			command docker compose -p gatehouse-test "\$@"
		else
			command docker "\$@"
		fi
	}
END
mkdir "$tmp/work"
n=0
while scripts/readme.sh compose $((n + 1)) "$tmp/block" "$tmp/expect"; do
	n=$((n + 1))
	{
		cat "$tmp/prelude.sh"
		# What a block leaves in the folder (ca.pem) stays out of the checkout.
		sed "s#ca\.pem\$#$tmp/work/ca.pem#; s#--cacert ca\.pem#--cacert $tmp/work/ca.pem#" "$tmp/block"
	} >"$tmp/run.sh"
	first=$(grep -v '^#' "$tmp/block" | head -1)
	if sh "$tmp/run.sh" >"$tmp/out" 2>&1 && grep -qiE "$(cat "$tmp/expect")" "$tmp/out"; then
		good "README block $n: $first"
	else
		bad "README block $n: $first (wanted: $(cat "$tmp/expect"))"
		tail -15 "$tmp/out" | sed 's/^/        /'
	fi
	if [ $n = 1 ]; then
		[ $failed = 0 ] || exit 1
		for service in redis edge shop blog; do
			if healthy $service; then good "$service is healthy"; else bad "$service is not healthy"; fi
		done
		[ $failed = 0 ] || exit 1
	fi
done
[ $n -ge 5 ] || bad "README.md has only $n compose blocks"

# What README does not show.
ca=$tmp/work/ca.pem
fetch() { curl -sSi --max-time 20 --cacert "$ca" "$@"; }
if fetch https://blog.localhost/ | grep -q 'Welcome to blog'; then good "the other tenant's site"; else bad "the other tenant's site"; fi
if fetch -G --data-urlencode 'q=<script>alert(1)</script>' https://blog.localhost/ | grep -q '^HTTP/1.1 200'; then
	good "the attack that shop blocks is only logged for blog"
else
	bad "blog does not answer an attack with 200 in detect mode"
fi
if curl -sS --cacert "$ca" https://unknown.localhost/ >/dev/null 2>&1; then bad "an unknown name got a certificate"; else good "an unknown name gets no certificate"; fi
edge_id=$(compose ps -q edge)
user=$(docker inspect -f '{{.Config.User}} {{.HostConfig.ReadonlyRootfs}}' "$edge_id")
if [ "$user" = "65532:65532 true" ]; then good "the edge runs as 65532 on a read-only root"; else bad "the edge runs as $user"; fi

# Redis started empty loses no site; the sites survive a restart of everything.
compose restart redis edge >/dev/null 2>&1
if healthy edge && fetch https://shop.localhost/ | grep -q 'Welcome to shop'; then good "sites survive a restart"; else bad "sites are gone after a restart"; fi

# Certificates by the ACME test server.
ISSUER=acme compose --profile acme up -d --no-build >"$tmp/out" 2>&1 || bad "the acme profile does not start: $(tail -3 "$tmp/out")"
tries=0
until echo | openssl s_client -connect 127.0.0.1:443 -servername shop.localhost 2>/dev/null | grep -qi 'issuer=.*pebble'; do
	tries=$((tries + 1))
	if [ $tries -gt 60 ]; then
		bad "shop.localhost has no certificate of the ACME server"
		break
	fi
	sleep 1
done
[ $tries -gt 60 ] || good "shop.localhost has a certificate of the ACME server"

# Without the profile and the volumes first, as README says; then all of it.
scripts/readme.sh compose-down 1 "$tmp/block" "$tmp/expect"
cat "$tmp/prelude.sh" "$tmp/block" >"$tmp/run.sh"
sh "$tmp/run.sh" >"$tmp/out" 2>&1 || bad "README's last block: $(tail -3 "$tmp/out")"
if compose --profile acme down -v >"$tmp/out" 2>&1 && [ -z "$(docker ps -aq --filter label=com.docker.compose.project=gatehouse-test)" ]; then
	rm "$tmp/up"
	good "down leaves nothing"
else
	bad "down leaves containers: $(tail -3 "$tmp/out")"
fi

[ $failed = 0 ] || {
	say "compose-test: FAILED"
	exit 1
}
say "compose-test: ok"
