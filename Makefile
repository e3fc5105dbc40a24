# `make dev` and `make test` install what is missing; see scripts/deps.

GO      ?= go
ARGS    ?=
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X github.com/perigee-sched/perigee/server.Version=$(VERSION)
# On two cores, more packages at a time only make tests with deadlines wait.
PACKAGES_AT_A_TIME ?= 2

.PHONY: dev demo-deploy test faults build bench sim clean

## dev: a Mesos cluster, a scheduler and three example jobs on this machine
dev:
	@scripts/deps dev
	@$(MAKE) --no-print-directory build
	@exec bin/perigee dev $(ARGS)

## demo-deploy: a rolling deploy under load, and a bad version that is taken back
demo-deploy:
	@scripts/deps demo
	@$(MAKE) --no-print-directory build
	@exec scripts/demo-deploy

## test: everything, with the race detector
test:
	@scripts/deps test
	$(GO) vet ./...
	@# What end-to-end tests start is compiled once, and not within their time.
	CGO_ENABLED=0 $(GO) build -trimpath -o /dev/null .
	CGO_ENABLED=0 $(GO) build -trimpath -tags nethttpomithttp2 -o /dev/null ./executor/cmd/perigee-executor
	$(GO) test -race -timeout 9m -p $(PACKAGES_AT_A_TIME) ./...

## faults: of the tests, those of the whole under faults, told as they happen
faults:
	@scripts/deps test
	$(GO) test -race -timeout 9m -count 1 -v ./e2e/fault

## build: bin/perigee and bin/perigee-executor
build:
	@mkdir -p bin && echo 'Building bin/perigee and bin/perigee-executor'
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/perigee .
	@CGO_ENABLED=0 $(GO) build -trimpath -tags nethttpomithttp2 -ldflags '-s -w' -o bin/perigee-executor ./executor/cmd/perigee-executor

## bench: the figures of docs/performance.md
bench:
	$(GO) test -run '^$$' -bench . -benchmem -timeout 30m ./...

## sim: the simulation at length; ARGS go to its test
sim:
	$(GO) test -timeout 30m -count 1 -v -run 'TestSeeds|TestLarge|TestMutants' ./scheduler/sim -sim.seeds 2000 -sim.large 20 -sim.mutants 300 $(ARGS)

clean:
	rm -rf bin build .perigee
