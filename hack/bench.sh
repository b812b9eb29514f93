#!/usr/bin/env bash
# Makes the tables of docs/benchmarks.md again. Raw output is under bench/out/.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
export GOWORK=off

usage() {
  cat >&2 <<'USAGE'
usage: bench.sh                       all benchmarks
       bench.sh coldstart|lookup ...  one of them; (cd bench && go run ./coldstart --help) lists its flags
USAGE
  exit 2
}

apply_crd() { # kubeconfig
  .cluster/bin/kubectl --kubeconfig "$1" apply -f yaml/testcrd.yaml
  .cluster/bin/kubectl --kubeconfig "$1" wait --for=condition=Established --timeout=30s crd/testcrs.stable.example.com
}

measure() { # name flags...
  local name=$1
  shift
  go build -C bench -trimpath -o "../bin/$name" "./$name"
  (cd bench && "../bin/$name" "$@") | tee "bench/out/$name.md.new"
  mv "bench/out/$name.md.new" "bench/out/$name.md"
  echo "raw output: bench/out/$name.jsonl" >&2
}

# On the cluster of `make cluster`, whose scheduler and nodes play their parts.
coldstart() {
  hack/cluster/cluster.sh up
  apply_crd .cluster/kubeconfig
  measure coldstart "$@"
}

# On a cluster of its own that has nothing but etcd and the API server: a controller manager would delete Pods whose
# nodes are not there. kwokctl can start only all, so the others are ended, as well as their pid files.
lookup() {
  local c pid
  export CLUSTER_DIR=.cluster/bench
  hack/cluster/cluster.sh down # of a run that was killed
  trap 'hack/cluster/cluster.sh down' EXIT
  NODES=0 hack/cluster/cluster.sh up
  for c in kube-controller-manager kube-scheduler kwok-controller; do
    pid=$CLUSTER_DIR/.kwok/clusters/podinfolookup/pids/$c.pid
    kill "$(<"$pid")"
    rm "$pid"
  done
  apply_crd "$CLUSTER_DIR/kubeconfig"
  go build -C bench -trimpath -o ../bin/timed ./lookup/timed
  measure lookup "$@"
  go test -run '^$' -bench 'Find|IndexMemory' -benchmem ./internal/index | tee bench/out/index.txt
}

case ${1:-} in
  "" | coldstart | lookup) ;;
  *) usage ;;
esac
make --no-print-directory build
mkdir -p bench/out bin
rm -f bench/out/podinfolookup.log
if (($#)); then
  "$@"
else
  coldstart
  lookup
fi
