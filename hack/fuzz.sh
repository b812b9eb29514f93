#!/usr/bin/env bash
# `make fuzz`: runs every fuzz test for FUZZTIME (10m). What makes one fail is kept under testdata/fuzz, and is a test from then on.
# FUZZJOBS (1) is how many packages are built and fuzzed at a time, each then with one worker.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
export GOWORK=off FUZZTIME=${FUZZTIME:-10m} FUZZJOBS=${FUZZJOBS:-1}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cache=$(go env GOCACHE)/fuzz # where go test -fuzz keeps inputs that reach new code
export scratch cache

# fuzz DIR builds the tests of a package once, and runs its fuzz tests one after the other.
fuzz() {
  local binary=$scratch/${1//\//_} package test
  package=$(go list "$1")
  go test -c -fuzz=. -o "$binary" "$1"
  cd "$1"
  for test in $(sed -n 's/^func \(Fuzz[A-Za-z]*\)(.*/\1/p' ./*_test.go); do
    "$binary" -test.run='^$' -test.fuzz="^$test\$" -test.fuzztime="$FUZZTIME" -test.fuzzminimizetime=10x -test.fuzzcachedir="$cache/$package" \
      $( ((FUZZJOBS == 1)) || echo -test.parallel=1) 2>&1 | sed "s|^|$test: |"
  done
}
export -f fuzz
grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u | xargs -P "$FUZZJOBS" -I{} bash -euo pipefail -c 'fuzz {}'
