#!/usr/bin/env bash
# `make update` writes again what is generated; `make verify` runs it with a folder to write to, and compares.
#   update.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-.}
mkdir -p "$out/yaml"
crd=$(hack/generate-crd.sh)
printf '%s\n' "$crd" >"$out/yaml/testcrd.yaml"

# The flags in README.md are what --help says.
help=$(go run ./cmd/podinfolookup --help)
readme=$(awk -v help="$help" '
  /<!-- flags: / { print; print "```"; print help; print "```"; skip = 1; next }
  /<!-- end of flags -->/ { skip = 0 }
  !skip' README.md)
printf '%s\n' "$readme" >"$out/README.md"
