package main

import (
	"fmt"

	"gatehouse/loadtest"
)

// loadHelp is the text of `loadtest --help`; its bounds are those that Run checks.
var loadHelp = fmt.Sprintf(`Send a bounded load to web servers, and say how they answered.

Without --rate the model is closed: each of -c clients sends its next request when
the last one is answered. That finds what a server can do. With --rate it is open:
so many requests a second are planned ahead, whatever the server does, and latency
counts from the planned time, so that a stall shows in every request that it held up.

Several URLs get equal shares; --scenario has weights, bodies, fields and hosts. In
URLs, values of fields and bodies {n} becomes a number that never repeats.

Targets must be on this machine, unless you say that they are yours (--i-own-this).

Service levels (--slo) are a metric, one of < <= > >=, and a limit:
  p0 to p%v, min, mean, max   a duration with its unit: p99<50ms
  errors                          a share of all requests with its sign: errors<0.1%%
  rate                            answers a second: rate>1000/s

A scenario file, with all keys that there are:
%s
Bounds: -d at most %s; -c, times --streams, at most %s; --rate at most %s;
%s requests in a mix; %s hosts; %d MiB a body, %d MiB all bodies of a scenario.
HTTP/3 (--http 3) is not supported yet.

Exit status: 0 good; 1 an SLO was missed, no request succeeded, or it was interrupted;
2 wrong usage.`,
	loadtest.MaxPercentile, scenarioExample, fmt.Sprintf("%gh", loadtest.MaxDuration.Hours()), thousands(loadtest.MaxConnections), thousands(loadtest.MaxRate),
	thousands(loadtest.MaxTargets), thousands(loadtest.MaxHosts), loadtest.MaxBody>>20, loadtest.MaxBodies>>20)

// scenarioExample has every key of a scenario.
const scenarioExample = `  hosts: ["site{1..99}.test", shop.test]  # {host} is each of them in turn
  requests:
    - url: "http://{host}/page?n={n}"     # the only key that must be there
      weight: 9                           # share of the mix, above 0; default 1
    - url: http://shop.test/orders
      method: PUT                         # default GET, with a body POST
      headers: {Content-Type: application/json}
      body: '{"order": {n}}'              # or body_file: FILE, or body_bytes: 64KiB
      expect: [2xx, 404, 410-412]         # good statuses; default 200-399
`

const loadExample = `  gatehouse loadtest http://127.0.0.1:8080/
  gatehouse loadtest --rate 500 -d 30s --slo 'p99<50ms' --slo 'errors<0.1%' http://127.0.0.1:8080/
  gatehouse loadtest --connect 127.0.0.1:8443 --ca data/ca/ca.pem https://www.shop.test/
  gatehouse loadtest --connect 127.0.0.1:8443 --insecure --handshakes --tls resumed https://www.shop.test/
  gatehouse loadtest --scenario mix.yaml --warmup 2s -o json
  gatehouse loadtest -X POST -H 'Content-Type: application/json' --data '{"order": {n}}' http://127.0.0.1:8080/orders`

// thousands writes a number with commas.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}
