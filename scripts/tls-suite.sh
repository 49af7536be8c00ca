#!/bin/sh
# tls-suite.sh TESTSSL GATEHOUSE OUT: testssl.sh (https://github.com/testssl/testssl.sh, a checkout of its
# version 3.3dev or newer is TESTSSL) against a node with one vhost for each tls.policy: HSTS on, an
# uncompressed answer, certificates of a CA that is made for the run. OUT gets POLICY.json and POLICY.txt,
# as testssl.sh writes them. The output has the grade of each policy and what was found above INFO; the
# status is 1 where that is not as we promise. One to three minutes a policy; nothing leaves the machine.
# POLICY='modern old' runs some, OPENSSL is the openssl that testssl.sh uses.
set -eu
testssl=$1/testssl.sh gatehouse=$2 out=$3
[ -n "$1" ] && [ -f "$testssl" ] || { echo "no checkout of testssl/testssl.sh in '$1' (TESTSSL=dir)" >&2; exit 2; }
for tool in openssl jq bash; do command -v "$tool" >/dev/null || { echo "$tool is missing: install it" >&2; exit 2; }; done
policies=${POLICY:-modern intermediate old}
for policy in $policies; do
	case $policy in modern | intermediate | old) ;; *) echo "POLICY: $policy is no tls.policy: want modern, intermediate, old" >&2; exit 2 ;; esac
done
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
pids=
end() {
	for pid in $pids; do kill "$pid" 2>/dev/null || true; done
	for pid in $pids; do wait "$pid" 2>/dev/null || true; done
	rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT TERM

# signed NAME CN ISSUER DAYS EXTENSIONS: certificate NAME.pem with a new key. The internal CA's certificates
# will not do: they live for a week, and testssl.sh wants a month.
signed() {
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$work/$1.key" -subj "/CN=$2" -out "$work/$1.csr"
	printf '%s\n' "$5" >"$work/$1.ext"
	if [ "$3" = "$1" ]; then set -- "$1" "$4" -signkey "$work/$1.key"; else set -- "$1" "$4" -CA "$work/$3.pem" -CAkey "$work/$3.key" -CAcreateserial; fi
	name=$1 days=$2
	shift 2
	openssl x509 -req -in "$work/$name.csr" -out "$work/$name.pem" -days "$days" -extfile "$work/$name.ext" "$@"
}
# wait_for FILE PATTERN: until a line of a log has it; prints what \1 is.
wait_for() {
	for _ in $(seq 300); do
		found=$(sed -n "s/.*$2.*/\1/p" "$1")
		[ -z "$found" ] || { echo "$found"; return; }
		sleep 0.1
	done
	cat "$1" >&2
	return 1
}

{
	signed root 'suite root' root 3650 'basicConstraints=critical,CA:TRUE'
	signed middle 'suite CA' root 1825 'basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign'
	for policy in $policies; do
		signed "$policy" "$policy.test" middle 90 "subjectAltName=DNS:$policy.test
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth"
		cat "$work/middle.pem" >>"$work/$policy.pem"
	done
} >"$work/openssl.log" 2>&1 || { cat "$work/openssl.log" >&2; exit 2; }

"$gatehouse" toy --listen 127.0.0.1:0 --name suite >"$work/toy.log" 2>&1 &
pids="$pids $!"
backend=$(wait_for "$work/toy.log" '\(http:[^ ]*\)')
cat >"$work/gatehouse.yaml" <<YAML
listen: {http: "", https: "127.0.0.1:0", admin: ""}
log: {access: {to: access.log}}
limits: {connections_per_ip: 0, keepalive_requests: 0, drain_accept: 0s}
YAML
mkdir "$work/conf.d"
for policy in $policies; do
	cat >"$work/conf.d/$policy.yaml" <<YAML
vhosts:
  $policy.test:
    backends: ["$backend"]
    tls: {policy: $policy, hsts: 365d, certificate: {cert: $work/$policy.pem, key: $work/$policy.key}}
YAML
done
"$gatehouse" serve -c "$work/gatehouse.yaml" >"$work/node.log" 2>&1 &
pids="$pids $!"
port=$(wait_for "$work/node.log" 'msg=serving.*https=127.0.0.1:\([0-9]*\)')

# What is known, as POLICY<tab>SEVERITY<tab>ID<tab>why, patterns of grep -Ex. The rest is a failure.
known() {
	every='	LOW	TLS_session_ticket	Go tells clients seven days, whatever the age of our keys
	HIGH	cert_revocation	a test CA has no revocation list and no responder
	(LOW|MEDIUM)	DNS_CAArecord	and its names are in no DNS'
	printf '%s\n' "$every" | sed "s/^/$1/"
	[ "$1" = old ] || return 0
	cat <<'END'
old	LOW	TLS1(_1)?	it is what the policy is for
old	LOW	cipherlist_OBSOLETED	AES-CBC for clients that know no AEAD
old	LOW	cipher-tls1(_1|_2)?_xc0(09|0a|13|14)	the same, one by one: ECDHE with AES-CBC
old	(LOW|MEDIUM)	BEAST(_CBC_TLS1)?	TLS 1.0 with AES-CBC; Go splits records (1/n-1)
old	LOW	LUCKY13	AES-CBC; Go's is constant-time
old	MEDIUM	overall_grade	TLS 1.0 and 1.1 cap it at B
END
}
# A finding is SEVERITY<tab>ID<tab>text.
findings() { jq -r '.[] | select(.severity | IN("OK", "INFO") | not) | [.severity, .id, .finding] | @tsv' "$1"; }

status=0
for policy in $policies; do
	want=A+
	[ "$policy" != old ] || want=B
	json=$out/$policy.json
	rm -f "$json"
	# Its status is the number of findings.
	bash "$testssl" --quiet --warnings batch --color 0 --nodns none --ip 127.0.0.1 --add-ca "$work/root.pem" \
		--openssl "${OPENSSL:-$(command -v openssl)}" --jsonfile "$json" "https://$policy.test:$port/api/price" </dev/null >"$out/$policy.txt" 2>&1 || true
	grade=$(jq -r '.[] | select(.id == "overall_grade") | .finding' "$json") || grade=
	[ -n "$grade" ] || { tail -n 20 "$out/$policy.txt" >&2; echo "tls.policy $policy: testssl.sh did not get to its grade" >&2; exit 2; }
	score=$(jq -r '.[] | select(.id == "final_score") | .finding' "$json")
	echo "tls.policy $policy: grade $grade, score $score"
	[ "$grade" = "$want" ] || { echo "  FAILED  the grade is not $want"; status=1; }
	known "$policy" | cut -f2,3 | sed 's/$/	.*/' >"$work/known"
	findings "$json" >"$work/found"
	while IFS='	' read -r severity id text; do
		finding="$severity	$id	$text"
		if [ "$severity" = WARN ]; then
			echo "  not tried  $id: $text"
		elif printf '%s\n' "$finding" | grep -qExf "$work/known"; then
			echo "  known   $severity $id: $text"
		else
			echo "  FAILED  $severity $id: $text"
			status=1
		fi
	done <"$work/found"
done
exit $status
