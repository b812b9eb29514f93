#!/usr/bin/env bash
# `make fuzz`: runs every fuzz test for FUZZTIME (10m), one after the other. What makes one fail is kept under testdata/fuzz, and is a test from then on.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
export GOWORK=off
grep -rlE '^func Fuzz' --include='*_test.go' . | sort | while read -r file; do
  for test in $(sed -n 's/^func \(Fuzz[A-Za-z]*\)(.*/\1/p' "$file"); do
    go test -run='^$' -fuzz="^$test\$" -fuzztime="${FUZZTIME:-10m}" -fuzzminimizetime=10x ${FUZZFLAGS:-} "$(dirname "$file")" </dev/null
  done
done
