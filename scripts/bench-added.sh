#!/bin/sh
# bench-added.sh GATEHOUSE: what a node adds to the latency of a request whose rate is planned: RATE (2000) requests a second
# over CONNECTIONS (100) for SECONDS (5), straight to a backend and through a node in front of it, in turns, ROUNDS (5) times; WAF is the tenant's
# waf.mode (off). Where nginx is installed it takes its turn in the node's place. The last lines have the
# medians of the rounds. Uses the ports PORT (18480) to PORT+2 of loopback.
set -eu
gatehouse=$1
rate=${RATE:-2000} connections=${CONNECTIONS:-100} seconds=${SECONDS_EACH:-5} rounds=${ROUNDS:-5} waf=${WAF:-off} port=${PORT:-18480}
backend=127.0.0.1:$port front=127.0.0.1:$((port + 1)) peer=
work=$(mktemp -d)
pids=
end() {
	for pid in $pids; do kill "$pid" 2>/dev/null || true; done
	for pid in $pids; do wait "$pid" 2>/dev/null || true; done
	rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT TERM

mkdir "$work/conf.d"
cat >"$work/gatehouse.yaml" <<YAML
listen: {http: "$front", https: "127.0.0.1:0", admin: ""}
data: $work/data
routes: file:$work/conf.d
limits: {connections_per_ip: 0, keepalive_requests: 0}
YAML
cat >"$work/conf.d/site.yaml" <<YAML
tenants:
  added: {waf: {mode: "$waf"}}
vhosts:
  added.test: {tenant: added, backends: ["http://$backend"], tls: {redirect_http: "false"}}
YAML
"$gatehouse" toy --listen "$backend" --name added >"$work/backend.log" 2>&1 &
pids="$pids $!"
"$gatehouse" serve -c "$work/gatehouse.yaml" >"$work/node.log" 2>&1 &
pids="$pids $!"
if command -v nginx >/dev/null; then
	peer=127.0.0.1:$((port + 2))
	cat >"$work/nginx.conf" <<CONF
daemon off; worker_processes auto; pid $work/nginx.pid; error_log $work/nginx.log;
events { worker_connections 1024; }
http {
	access_log off; keepalive_requests 1000000; client_body_temp_path $work/body; proxy_temp_path $work/proxy;
	upstream added { server $backend; keepalive 128; keepalive_requests 1000000; }
	server { listen $peer; location / {
		proxy_pass http://added; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host \$host;
		proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for;
	} }
}
CONF
	nginx -e "$work/nginx.log" -c "$work/nginx.conf" &
	pids="$pids $!"
fi
for at in "$backend" "$front" $peer; do
	tries=0
	until curl -sf -o /dev/null -H 'Host: added.test' "http://$at/healthz"; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || { echo "nobody answers at $at" >&2; cat "$work"/*.log >&2; exit 2; }
		sleep 0.1
	done
done

# load NAME ADDRESS: one round, whose mean and median latency in milliseconds are printed and kept.
load() {
	"$gatehouse" loadtest --rate "$rate" -c "$connections" -d "${seconds}s" --connect "$2" -o json --slo 'errors<=0%' http://added.test/healthz >"$work/result.json"
	for of in mean p50; do # the first of each is that of all requests
		sed -n "s/^ *\"${of}_us\": *\([0-9.]*\),*\$/\1/p" "$work/result.json" | awk 'NR == 1 {print $1 / 1000}' >>"$work/$1.$of"
	done
	echo "$1: mean $(tail -1 "$work/$1.mean") ms, median $(tail -1 "$work/$1.p50") ms"
}
round=0
while [ $round -lt "$rounds" ]; do
	load straight "$backend"
	load through "$front"
	[ -z "$peer" ] || load nginx "$peer"
	round=$((round + 1))
done
middle() { sort -g "$work/$1" | awk '{v[NR] = $1} END {print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2}'; }
for by in through ${peer:+nginx}; do
	for of in mean p50; do
		awk -v by="$by" -v of="$of" -v a="$(middle "straight.$of")" -v b="$(middle "$by.$of")" 'BEGIN {printf "added to the %s: %.3f ms (%.3f straight, %.3f %s)\n", of, b - a, a, b, by}'
	done
done
