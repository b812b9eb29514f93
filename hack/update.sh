#!/usr/bin/env bash
# `make update` writes again what is generated; `make verify` runs it with a folder to write to, and compares.
#   update.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-.}
hack/generate-crd.sh "$out"

# The flags in the docs are the output of --help, between two markers.
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

# Whose code is linked in, on any system. Without versions, which go.mod and the SBOM of a release have.
. hack/source.sh
licenses=$(tool go-licenses github.com/google/go-licenses/v2)
linked() {
  local os
  for os in linux darwin windows; do
    GOOS=$os GOFLAGS='' "$licenses" report ./cmd/podinfolookup ./cmd/kubectl-podinfo --ignore github.com/weiyuanke/PodInfoLookup \
      --template hack/release/licenses.tpl 2>/dev/null
  done
}
rows=$(linked | awk -F'|' 'NF == 2 { print "| `" $1 "` | " $2 " |" }' | LC_ALL=C sort -u)
mkdir -p "$out/docs"
cat >"$out/docs/licenses.md" <<END
# Licences of what is linked in

PodInfoLookup itself is under the Apache License 2.0. Its programs hold code of the following packages, and of Go's standard library
(BSD-3-Clause). Each archive of a release and the image have the texts of these licences, and the notices, in \`licenses/\`. This page is made by
\`make update\` with go-licenses; a licence that does not allow giving the programs away, or only with conditions on their source, fails \`make release\`.

| package | licence |
|---|---|
$rows
END
