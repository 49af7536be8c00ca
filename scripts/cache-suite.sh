#!/bin/sh
# cache-suite.sh SUITE GATEHOUSE OUT: the public conformance tests of HTTP caches
# (https://github.com/http-tests/cache-tests, a checkout of it with its node modules is SUITE)
# through a node with its cache on. OUT gets results.json, as the suite writes it, and
# summary.json; the last lines say what passed, and the status is 1 where the node falls short of
# what we promise. About a minute. TEST=id runs one test and shows both sides' fields.
set -eu
suite=$1 gatehouse=$2 out=$3
here=$(cd "$(dirname "$0")" && pwd)
[ -f "$suite/test-engine/cli.mjs" ] || { echo "no checkout of http-tests/cache-tests in $suite (SUITE=dir)" >&2; exit 2; }
[ -d "$suite/node_modules" ] || { echo "no node modules in $suite: run npm install there" >&2; exit 2; }
mkdir -p "$out"
work=$(mktemp -d)
pids=
end() {
	for pid in $pids; do kill "$pid" 2>/dev/null || true; done
	for pid in $pids; do wait "$pid" 2>/dev/null || true; done
	rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT TERM

free() { node -e 'const s=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})'; }
origin=$(free) plain=$(free)
cat >"$work/gatehouse.yaml" <<YAML
listen: {http: "127.0.0.1:$plain", https: "127.0.0.1:0", admin: ""}
data: $work/data
routes: file:$work/conf.d
log: {access: {to: $work/access.log}}
limits: {connections_per_ip: 0, keepalive_requests: 0, drain_accept: 0s}
YAML
mkdir "$work/conf.d"
cat >"$work/conf.d/suite.yaml" <<YAML
tenants:
  suite: {waf: {mode: "off"}}
vhosts:
  localhost:
    tenant: suite
    backends: ["http://127.0.0.1:$origin"]
    cache: {enabled: true, ${POLICY:-max_body: 1MiB}}
    tls: {redirect_http: "false"}
YAML

export npm_config_protocol=http npm_config_port="$origin" npm_config_pidfile="$work/origin.pid"
(cd "$suite" && exec node test-engine/server/server.mjs) >"$work/origin.log" 2>&1 &
pids="$pids $!"
"$gatehouse" serve -c "$work/gatehouse.yaml" >"$work/node.log" 2>&1 &
pids="$pids $!"
export npm_config_base="http://localhost:$plain" npm_config_id="${TEST:-}" npm_package_config_id=
node "$here/cache-suite.mjs" wait "$npm_config_base/" || { cat "$work/node.log" >&2; exit 2; }
if [ -n "${TEST:-}" ]; then
	cd "$suite" && node --no-warnings test-engine/cli.mjs
	exit
fi
(cd "$suite" && node --no-warnings test-engine/cli.mjs) >"$out/results.json"
node "$here/cache-suite.mjs" judge "$suite" "$out"
