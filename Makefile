# Gatehouse. `make run` starts the demo, `make test` proves the tree; both set up what they need.
# Every go command builds with this tag: without it Coraza's cache mixes tenants, and the WAF refuses to start.
TAGS    := coraza.no_memoize
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
PKGS    ?= ./...
GO      := go
# What the tests start besides Go programs.
NEEDS   := redis-server openssl curl prlimit
# The caddy that `make bench` compares with.
CADDY   := v2.11.9
# What `make bench` and `make bench-flat` are told on the line.
# One that is empty is passed on, too, to be refused: `SCENARIOS=$$UNSET` would start a full run.
given    = $(if $(filter command environment,$(firstword $(origin $(1)))),--$(2) '$($(1))')
BENCH    = $(call given,ROUNDS,rounds) $(call given,SECONDS,seconds) $(call given,PEERS,peers) $(call given,SCENARIOS,scenarios) \
           $(call given,ONLY,only) $(call given,VHOSTS,vhosts) $(call given,TENANTS,tenants) $(call given,CONNECTIONS,connections) \
           $(if $(filter-out 0,$(CHECK)),--check) $(if $(filter-out 0,$(KEEP)),--keep)

.PHONY: help build run test e2e lint bench bench-flat bench-added bench-deps bench-go bench-wire bench-compare norace fuzz corpus crs waf-identity cache-suite tls-suite faults scale compose-test tools-for-tests clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/gatehouse, static
	CGO_ENABLED=0 $(GO) build -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)' -o bin/gatehouse ./cmd/gatehouse

run: build ## build, then start the demo: two sites, two tenants, WAF and cache on
	bin/gatehouse demo

# Three packages at a time, since most wait for something, and first the one that takes longest, so that nothing is left to run alone.
test: tools-for-tests ## vet, race tests, end-to-end tests, and what the race detector would spoil
	$(GO) vet -tags $(TAGS) $(PKGS)
	$(GO) test -race -p 3 -tags $(TAGS) $$($(GO) list -tags $(TAGS) $(PKGS) | grep -v '/e2e$$' | awk '/\/edge$$/ {print; next} {rest = rest "\n" $$0} END {print rest}')
	@$(if $(filter ./...,$(PKGS)),$(MAKE) --no-print-directory e2e)
	@$(MAKE) --no-print-directory norace
	@$(MAKE) --no-print-directory waf-identity N=1000

norace: ## the tests that the race detector would spoil (budgets of allocations), or only slow down
	scripts/norace.sh $(TAGS) $(PKGS)

# Without the race detector: it would look at the clients alone, since what they test runs in processes of its own, and
# alone, since many of these tests look at times. Four at a time: most of them wait for something.
e2e: tools-for-tests ## only the end-to-end tests
	$(GO) test -tags $(TAGS) -count=1 -parallel 4 $(if $(V),-v) ./e2e/...

lint: ## golangci-lint and gofumpt, both from tools/go.mod
	$(GO) -C tools build -o ../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	bin/golangci-lint run
	bin/golangci-lint fmt --diff

# Not by `go run`: it would hide the exit status, and end at a SIGTERM before what it runs.
bench: build bin/compare ## gatehouse beside nginx, haproxy, varnish, ModSecurity and caddy, by CPU time per request; ROUNDS, SECONDS, PEERS, SCENARIOS, CHECK=1
	bin/compare --out bin/bench $(BENCH)

bench-flat: build bin/compare ## what 10,000 vhosts and 1,000 tenants add to the CPU time of a request; ROUNDS, SECONDS, ONLY=vhosts, SCENARIOS=hit, CHECK=1
	bin/compare --flat --out bin/bench $(BENCH)

.PHONY: bin/compare
bin/compare:
	$(GO) build -tags $(TAGS) -o bin/compare ./loadtest/compare

bench-added: build ## what a node adds to the latency of RATE=2000 planned requests a second over CONNECTIONS=100; SECONDS_EACH, ROUNDS, WAF=off; a minute
	@RATE='$(RATE)' CONNECTIONS='$(CONNECTIONS)' SECONDS_EACH='$(SECONDS_EACH)' ROUNDS='$(ROUNDS)' WAF='$(WAF)' scripts/bench-added.sh bin/gatehouse

bench-deps: ## install what bench compares with: Debian's packages, which start no service, and caddy in bin/
	scripts/bench-deps.sh $(GO) $(CADDY)

bench-go: ## Go benchmarks with allocations; compare two runs with benchstat
	$(GO) test -tags $(TAGS) -run '^$$' -bench . -benchmem $(PKGS)

bench-wire: ## what the checks of a request cost over the bare HTTP library, by benchstat; two minutes
	@mkdir -p bin
	$(GO) test -tags $(TAGS) -run '^$$' -bench '^BenchmarkRequest$$' -benchmem -count 10 ./edge/wire >bin/bench-wire.txt || { cat bin/bench-wire.txt; false; }
	$(GO) -C tools tool benchstat -col /by $(CURDIR)/bin/bench-wire.txt

bench-compare: ## Go benchmarks of BASE, a git ref, and of this tree in turns, by benchstat; BENCH, PKGS, COUNT, TIME
	@BENCH='$(if $(findstring command,$(origin BENCH)),$(BENCH))' PKGS='$(if $(findstring file,$(origin PKGS)),,$(PKGS))' COUNT='$(COUNT)' TIME='$(TIME)' \
		scripts/bench-compare.sh $(GO) $(TAGS) '$(BASE)'

fuzz: ## every fuzz target for FUZZTIME (30s each); FUZZ=regex and PKGS choose some
	scripts/fuzz.sh $(TAGS) $(or $(FUZZTIME),30s) '$(or $(FUZZ),.)' $(PKGS)

corpus: tools-for-tests ## replay raw requests and hostile answers, ours and those of ../shared/corpus, which it needs; takes minutes
	@test -e ../shared/corpus/replay/main.go || { echo 'make corpus needs ../shared/corpus, beside this folder; make e2e replays our own cases without it' >&2; exit 2; }
	scripts/noskip.sh ./e2e -tags $(TAGS) -run '^(TestCorpus|TestStrict|TestCareful)' -parallel 3

# Each in its own folder: only there does go test show what a passing test prints.
crs: ## all regression tests of the CRS, in process and through the edge, a minute; V=1 lists those that are overridden
	GATEHOUSE_CRS_TESTS=all $(GO) -C edge/waf test -tags $(TAGS) -count=1 -run '^TestCoreRuleSet' $(if $(filter-out 0,$(V)),-v)
	GATEHOUSE_CRS_TESTS=all $(GO) -C edge test -tags $(TAGS) -count=1 -run '^TestCoreRuleSet' $(if $(filter-out 0,$(V)),-v)

cache-suite: build ## the public tests of HTTP caches, SUITE=a checkout of http-tests/cache-tests with its node modules; TEST=id for one; POLICY='heuristic: true, set_cookie: store'
	POLICY='$(or $(POLICY),heuristic: true)' scripts/cache-suite.sh '$(SUITE)' bin/gatehouse bin/cache-suite

tls-suite: build ## testssl.sh on a vhost of each tls.policy, TESTSSL=a checkout of testssl/testssl.sh; POLICY='modern old' for some; three to eight minutes
	POLICY='$(POLICY)' scripts/tls-suite.sh '$(TESTSSL)' bin/gatehouse bin/tls-suite

waf-identity: ## N=100000 requests by our engine and by Coraza as it comes: nothing may differ; ten minutes on two cores
	GATEHOUSE_IDENTITY=$(or $(N),100000) $(GO) test -tags $(TAGS) -run 'Identity|PatternsDecide|AutomatonsAreBounded' -count 1 -timeout 0 -v ./edge/waf
	$(GO) test -tags $(TAGS) -run 'HasTheNeed|ScanOfRuleSet|NoMatchIsMissed' -count 1 ./edge/waf/gate

faults: tools-for-tests ## faults of backends, Redis, clients and logs in full size; a skip fails
	scripts/faults.sh $(TAGS)

scale: tools-for-tests ## SITES=1000000 sites in a Redis: how long until they are served, memory and lookup of each, what a change takes; minutes
	GATEHOUSE_SCALE=$(or $(SITES),1000000) $(GO) -C routes/redisstore test -tags $(TAGS) -run '^TestScale$$' -count 1 -v -timeout 1h

compose-test: ## docker-compose.yml with real containers, offline
	TAGS=$(TAGS) scripts/compose-test.sh

tools-for-tests: # installs what is missing, or says what to install
	@scripts/need.sh $(NEEDS)

clean: ## remove what was built
	rm -rf bin
