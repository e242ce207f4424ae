# make help shows what there is.
.DEFAULT_GOAL := help
.PHONY: help test race lint bench fuzz run demo soak package chaos ci

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

test: ## run the tests
	go test ./...

race: ## run the tests under the race detector
	go test -race ./...

lint: ## check style, mistakes and the direction of imports
	.ci/run lint

bench: ## run the benchmarks; compare figures of one run only
	go test -run '^$$' -bench . ./...

fuzz: ## fuzz each parser, a minute a target
	FUZZ_TIME=60s .ci/run fuzz

run: ## run the whole system on this machine
	go run ./testlocal

demo: ## walk through the whole system once
	go run ./testlocal demo

soak: ## run the long tests: large exports and many streams
	XINGHE_SOAK=1 go test -count=1 -timeout 30m -run 'Soak' -v ./testlocal/... ./workers/...

chaos: ## run exports of 100,000 messages while workers and NATS are killed
	XINGHE_CHAOS=full go test -count=1 -timeout 20m -run Chaos -v ./testlocal/chaos

package: ## build the zips that s.yaml and template.yaml name, twice, and compare them
	go run ./deploy/package -check

ci: ## run everything that a change must pass
	.ci/run
