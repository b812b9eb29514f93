#!/usr/bin/env bash
# Prints yaml/testcrd.yaml as testcr.go calls for it: `make update` writes it, `make verify` compares.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/bin/tools
(cd hack/tools && GOWORK=off go build -o "$tools/controller-gen" sigs.k8s.io/controller-tools/cmd/controller-gen)
echo "# Made from testcr.go by 'make update': change that file, not this one."
"$tools/controller-gen" crd:ignoreUnexportedFields=true paths=. output:crd:stdout
