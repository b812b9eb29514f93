#!/usr/bin/env bash
# `make verify`: all that can be checked without running the tests. Each check prints its findings; all of them run.
set -uo pipefail
cd "$(dirname "$0")/.."
modules=(. test bench hack/cluster hack/tools hack/release)
tools=$PWD/bin/tools
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
passed=0
failed=0

check() { # name command...
  local start=$SECONDS
  if "${@:2}" >"$scratch/log" 2>&1; then
    passed=$((passed + 1))
    printf 'ok    %-12s %3d s\n' "$1" "$((SECONDS - start))"
  else
    failed=$((failed + 1))
    printf 'FAIL  %-12s %3d s\n' "$1" "$((SECONDS - start))"
    sed 's/^/      /' "$scratch/log"
  fi
}

build_tools() { mkdir -p "$tools" && go -C hack/tools build -o "$tools/" tool; }

formatted() {
  local files
  files=$(git ls-files --cached --others --exclude-standard '*.go' | xargs gofmt -l)
  [[ -z $files ]] || { echo "not formatted: make them so with gofmt -w"; echo "$files"; return 1; }
}

vetted() {
  go vet ./... && go vet main.go && go -C test vet ./... && go -C bench vet ./...
}

linted() {
  local m
  for m in . test bench; do (cd "$m" && "$tools/golangci-lint" run --allow-parallel-runners ./...) || return 1; done
  "$tools/golangci-lint" run --allow-parallel-runners main.go
}

tidy() {
  local m bad=0
  for m in "${modules[@]}"; do go -C "$m" mod tidy -diff || bad=1; done
  return "$bad"
}

generated() {
  hack/update.sh "$scratch/generated" && for f in yaml/testcrd.yaml api/v1/zz_generated.deepcopy.go README.md docs/plugin.md docs/licenses.md; do
    diff -u "$f" "$scratch/generated/$f" || { echo "$f is not what its source says: make update"; return 1; }
  done
}

# The manifests and the examples of the docs, by a real API server's strict validation.
manifests() { go -C test test -count=1 -run='^Test(Manifests_|CRD_Schema)' ./crd; }

documented() { hack/check-docs.sh && hack/check-words.sh; }

# Known vulnerabilities within reach of our code, in the Go that a release is built with, by the database as of the version
# in hack/release/go.mod: go -C hack/release get golang.org/x/vulndb@master takes a newer one.
vulnerabilities() {
  . hack/source.sh
  local vulncheck db
  vulncheck=$(tool govulncheck golang.org/x/vuln/cmd/govulncheck) && db=$(GOFLAGS=-mod=mod go -C hack/release mod download -json golang.org/x/vulndb) || return 1
  db=$(sed -n 's/.*"Dir": "\(.*\)".*/\1/p' <<<"$db")/data/osv
  [[ -d $db ]] || { echo "there is no vulnerability database in $db"; return 1; }
  GOTOOLCHAIN=$RELEASE_GO GOFLAGS='' "$vulncheck" -db "file://$db" ./...
}

# What `make build` makes is built by the Go that go.mod names, and contains its version.
toolchain() {
  . hack/source.sh
  local program
  make -s build || return 1
  for program in bin/podinfolookup bin/kubectl-podinfo; do
    [[ $(go version "$program") == *": $RELEASE_GO" && $("$program" --version) == *" $RELEASE_GO "* ]] ||
      { echo "$program is of $(go version "$program"), and go.mod says $RELEASE_GO:"; "$program" --version; return 1; }
  done
}

# .krew.yaml by the rules that krew has for its index.
krew() { go test -count=1 -run TestKrewManifest ./internal/plugin; }

scripts() {
  local f
  for f in hack/*.sh hack/cluster/*.sh .ci/run; do bash -n "$f" && [[ -x $f || $f == hack/source.sh ]] || { echo "$f"; return 1; }; done
}

check tools build_tools
check format formatted
check vet vetted
check lint linted
check tidy tidy
check generated generated
check manifests manifests
check docs documented
check toolchain toolchain
check krew krew
check vulncheck vulnerabilities
check scripts scripts
echo "$passed passed, $failed failed"
((failed == 0))
