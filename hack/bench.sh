#!/usr/bin/env bash
# Measures the tables of docs/benchmarks.md. The raw output is in bench/out/.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
export GOWORK=off

usage() {
  cat >&2 <<'USAGE'
usage: bench.sh                  firstsync, churn and lookup, in 25 minutes; with BENCH_PODS=100000 up to as many Pods, in 90
       bench.sh NAME [flag...]   one of firstsync, churn, lookup; (cd bench && go run . NAME --help) lists its flags
       bench.sh keep             copy the raw output to docs/benchmarks, from which `make plots` draws
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
  (cd bench && ../bin/bench "$name" "$@") | tee "bench/out/$name.md.new"
  mv "bench/out/$name.md.new" "bench/out/$name.md"
  echo "raw output: bench/out/$name.jsonl" >&2
}

# lookup needs a cluster of etcd and the API server alone, because a controller manager deletes Pods without nodes.
# kwokctl cannot start less than all components, so the others are ended and their pid files deleted.
lookup() {
  local c pid
  export CLUSTER_DIR=.cluster/bench
  hack/cluster/cluster.sh down # after a run that was killed
  trap 'hack/cluster/cluster.sh down' EXIT
  NODES=0 hack/cluster/cluster.sh up
  for c in kube-controller-manager kube-scheduler kwok-controller; do
    pid=$CLUSTER_DIR/.kwok/clusters/podinfolookup/pids/$c.pid
    kill "$(<"$pid")"
    rm "$pid"
  done
  apply_crd "$CLUSTER_DIR/kubeconfig"
  measure lookup "$@"
  go test -run '^$' -bench 'Find|IndexMemory' -benchmem ./internal/index | tee bench/out/index.txt
}

# firstsync and churn start an etcd and an API server themselves.
firstsync() { measure firstsync "$@"; }
churn() { measure churn "$@"; }

# sizes prints the numbers of Pods for firstsync, up to BENCH_PODS. Without it they take 25 minutes in all.
sizes() {
  local n list=""
  [[ -n ${BENCH_PODS:-} ]] || { echo 1000,3000,20000 && return; }
  for n in 1000 3000 10000 20000 50000; do ((n >= BENCH_PODS)) || list+=$n,; done
  echo "$list$BENCH_PODS"
}

keep() {
  local name
  mkdir -p docs/benchmarks
  for name in firstsync churn; do
    [[ ! -s bench/out/$name.jsonl ]] || gzip -9nc "bench/out/$name.jsonl" >"docs/benchmarks/$name.jsonl.gz"
  done
  local soak=.cluster/chaos/report/soak.jsonl # of `make soak`
  [[ ! -s $soak ]] || gzip -9nc "$soak" >docs/benchmarks/soak.jsonl.gz
}

case ${1:-} in
  keep)
    keep
    exit
    ;;
  "" | firstsync | churn | lookup) ;;
  *) usage ;;
esac
make --no-print-directory build
mkdir -p bench/out bin
go build -C bench -trimpath -o ../bin/ . ./timed
rm -f bench/out/podinfolookup.log bench/out/peers.log
if (($#)); then
  "$@"
else
  firstsync --pods "$(sizes)" --most "3000${BENCH_PODS:+,20000}"
  churn
  lookup --pods 5000 --rounds 1 --calls 10
fi
