#!/usr/bin/env bash
# Makes the tables of docs/benchmarks.md again: starts the local cluster, fills it with Pods, measures. Arguments go to
# the bench (cd bench && go run ./coldstart --help). Raw output is under bench/out/.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
export GOWORK=off

make --no-print-directory build
hack/cluster/cluster.sh up
kubectl=(.cluster/bin/kubectl --kubeconfig .cluster/kubeconfig)
"${kubectl[@]}" apply -f yaml/testcrd.yaml
"${kubectl[@]}" wait --for=condition=Established --timeout=30s crd/testcrs.stable.example.com

mkdir -p bench/out bin
go build -C bench -trimpath -o ../bin/coldstart ./coldstart
rm -f bench/out/podinfolookup.log
(cd bench && ../bin/coldstart "$@") | tee bench/out/coldstart.md.new
mv bench/out/coldstart.md.new bench/out/coldstart.md
echo "raw output: bench/out/coldstart.jsonl" >&2
