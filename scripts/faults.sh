#!/bin/sh
# faults.sh TAGS: the black-box tests of faults, upgrades and kills in their full
# size. Without the race detector: ten thousand connections would need a machine
# of their own for it. The same tests run in a small size, with it, in `make test`.
set -eu
export GATEHOUSE_FAULTS=full CI=true
scripts/noskip.sh ./e2e/... -tags "$1" -timeout 45m \
	-run 'Fault|Upgrade|Kill|Drain'
scripts/noskip.sh ./routes/redisstore -tags "$1" -timeout 15m -run 'Cluster|Sentinel|Hung|Absent|Empty|Flush|Poll'
scripts/noskip.sh ./edge -tags "$1" -timeout 15m -run 'DeadOneOfTwo|MoreThanHalfDead'
