# PodInfoLookup. `make help` lists the targets; nothing needs to be installed but Go, make, git, a C compiler and, for
# `make test`, npm and Debian's Chromium, buildah and PostgreSQL, which it installs itself where apt-get can be used.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
export GOWORK := off
export VERSION IMAGE # empty if they are not given

LDFLAGS = $(shell . hack/source.sh && echo "$$LDFLAGS")
RELEASE_GO = $(shell . hack/source.sh && echo "$$RELEASE_GO")
KUBECTL := .cluster/bin/kubectl --kubeconfig=.cluster/kubeconfig

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^##@ /{print "\n" substr($$0, 5) ":"} /^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ To use it

.PHONY: demo
demo: ## from a fresh machine to each way to find a Pod, step by step; the controller goes on in the background
	@mkdir -p bin
	@echo "building bin/podinfolookup and bin/kubectl-podinfo; the output of go is in bin/build.log"
	@$(MAKE) --no-print-directory build >bin/build.log 2>&1 || { tail -n 30 bin/build.log >&2; exit 1; }
	@hack/cluster/cluster.sh up
	@hack/demo.sh

.PHONY: demo-down
demo-down: ## stop the controller of the demo; the cluster and its Pods stay
	@hack/demo.sh down

.PHONY: cluster
cluster: ## start the local cluster, or heal it (NODES=n sets the number of nodes)
	@hack/cluster/cluster.sh up

.PHONY: cluster-down
cluster-down: demo-down ## stop the local cluster and delete it
	@hack/cluster/cluster.sh down

.PHONY: run
run: cluster ## apply the CRD and run the controller in the foreground
	@$(KUBECTL) apply -f yaml/testcrd.yaml
	go run main.go --kubeconfig=.cluster/kubeconfig

.PHONY: build
build: ## build bin/podinfolookup and the plugin, bin/kubectl-podinfo
	@mkdir -p bin
	GOTOOLCHAIN=$(RELEASE_GO) go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/podinfolookup ./cmd/kubectl-podinfo
	@install -m 755 cmd/kubectl-podinfo/kubectl_complete-podinfo bin/

.PHONY: clean
clean: cluster-down ## delete all that was built, the cluster too
	rm -rf bin dist .cluster bench/out

##@ To work on it

.PHONY: cluster-build
cluster-build: ## build the cluster's binaries into .cluster/bin without starting it
	@hack/cluster/cluster.sh build

.PHONY: test-unit
test-unit: ## run the unit tests: seconds, no cluster and no network
	go test ./...

.PHONY: test
test: cluster-build ## run every test with the race detector, on a real API server and in a browser
	@hack/chromium.sh && hack/axe.sh && hack/apt.sh buildah buildah && hack/postgres.sh >/dev/null
	go test -race ./...
	FUZZTIME=3s FUZZJOBS=2 hack/fuzz.sh
	# A cached pass says nothing of a real server. TestSoak is `make soak`; TestChaos needs the machine for itself.
	cd test && go test -race -count=1 -timeout=35m -skip='^Test(Chaos|Soak)$$' ./...
	cd test && go test -race -count=1 -timeout=20m -run='^TestChaos$$' ./chaos

CHAOS_MINUTES ?= 30
.PHONY: chaos
chaos: cluster-build ## break things for CHAOS_MINUTES (30) on a cluster of its own; CHAOS_SEED=n has the same plan again
	cd test && CHAOS_MINUTES=$(CHAOS_MINUTES) CHAOS_SEED=$(CHAOS_SEED) go test -v -count=1 -timeout=0 -run='^TestChaos$$' ./chaos

FUZZTIME ?= 10m
.PHONY: fuzz
fuzz: ## run each fuzz test for FUZZTIME (10m)
	@FUZZTIME=$(FUZZTIME) hack/fuzz.sh

SOAK_MINUTES ?= 60
.PHONY: soak
soak: cluster-build ## let Pods come and go for SOAK_MINUTES (60), and see whether anything grows
	cd test && SOAK_MINUTES=$(SOAK_MINUTES) go test -v -count=1 -timeout=0 -run='^TestSoak$$' ./chaos

.PHONY: verify
verify: cluster-build ## vet, lint, format, generated files, tidy, manifests, docs
	@hack/verify.sh

.PHONY: update
update: ## write again what is generated: yaml/testcrd.yaml, DeepCopy of api/v1, the flags and licences in the docs
	@hack/update.sh

.PHONY: screenshots
screenshots: cluster-build ## take the screenshots of the page again, docs/screenshots
	@hack/screenshots.sh

.PHONY: bench
bench: cluster-build ## make the tables of docs/benchmarks.md again, raw output under bench/out/ (BENCH_PODS=100000 for more)
	@hack/bench.sh

.PHONY: image
image: ## build the image for amd64 and arm64 into dist/, without a Docker daemon
	@hack/image.sh

.PHONY: release
release: cluster-build ## make all of a release in dist/ (VERSION=v1.2.3, IMAGE=registry/name)
	@hack/release.sh dist

.PHONY: plots
plots: ## draw docs/benchmarks/*.svg again, from the raw output kept beside them (hack/bench.sh keep)
	cd bench && go run . plot
