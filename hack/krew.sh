#!/usr/bin/env bash
# krew.sh FOLDER VERSION prints .krew.yaml with the version, the addresses and the checksums of the archives in FOLDER
# filled in, as krew-release-bot would, once it is by krew's own rules.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
. hack/source.sh
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

while IFS= read -r line; do
  line=${line//'{{ .TagName }}'/$2}
  if [[ $line =~ ^(\ *)\{\{addURIAndSha\ \"([^\"]+)\" ]]; then
    indent=${BASH_REMATCH[1]} uri=${BASH_REMATCH[2]}
    sum=$(sha256sum "$1/${uri##*/}")
    line="${indent}uri: $uri"$'\n'"${indent}sha256: ${sum%% *}"
  fi
  printf '%s\n' "$line"
done <.krew.yaml >"$scratch/podinfo.yaml"

check=$(tool validate-krew-manifest sigs.k8s.io/krew/cmd/validate-krew-manifest)
"$check" -manifest "$scratch/podinfo.yaml" -skip-install 2>"$scratch/log" || { echo "krew: $(<"$scratch/log")" >&2; exit 1; }
cat "$scratch/podinfo.yaml"
