#!/usr/bin/env bash
# `make update` writes again what is generated; `make verify` runs it with a folder to write to, and compares.
#   update.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-.}
mkdir -p "$out/yaml"
crd=$(hack/generate-crd.sh)
printf '%s\n' "$crd" >"$out/yaml/testcrd.yaml"

# The flags in the docs are what --help says, between two markers.
flags() { # document marker command...
  local help
  help=$("${@:3}")
  local from=$1
  [[ ! -e $out/$1 ]] || from=$out/$1 # a document may have several such places
  mkdir -p "$out/$(dirname "$1")"
  awk -v help="$help" -v begin="<!-- $2: " '
    index($0, begin) == 1 { print; print "```"; print help; print "```"; skip = 1; next }
    /<!-- end of flags -->/ { skip = 0 }
    !skip' "$from" >"$out/$1.new"
  mv "$out/$1.new" "$out/$1"
}
plugin_flags() { go run ./cmd/kubectl-podinfo --help | sed -n '/^Flags:/,$p'; }
flags README.md flags go run ./cmd/podinfolookup --help
flags README.md "verify flags" go run ./cmd/podinfolookup verify --help
flags docs/plugin.md "plugin flags" plugin_flags
