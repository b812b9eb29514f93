#!/usr/bin/env bash
# Writes what is generated from api/v1/types.go into a folder: yaml/testcrd.yaml and api/v1/zz_generated.deepcopy.go.
#   generate-crd.sh FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/bin/tools
out=$1
(cd hack/tools && GOWORK=off go build -o "$tools/controller-gen" sigs.k8s.io/controller-tools/cmd/controller-gen)
mkdir -p "$out/yaml" "$out/api/v1"
{
  echo "# Made from api/v1/types.go by 'make update': change that file, not this one."
  "$tools/controller-gen" crd paths=./api/v1 output:crd:stdout
} >"$out/yaml/testcrd.yaml.new"
mv "$out/yaml/testcrd.yaml.new" "$out/yaml/testcrd.yaml"
"$tools/controller-gen" object paths=./api/v1 "output:object:dir=$out/api/v1"
