#!/usr/bin/env bash
# `make demo`: the session of the article on the local cluster, which stays up.
# The end-to-end test runs it with a cluster (CLUSTER_DIR) and a binary (PODINFOLOOKUP) of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
export KUBECONFIG=${CLUSTER_DIR:-$PWD/.cluster}/kubeconfig
kubectl=.cluster/bin/kubectl
podinfolookup=${PODINFOLOOKUP:-bin/podinfolookup}
name=29b36e2c6835dded8a115aee874d1ddc # md5 of "default/nginx"
feed=$(mktemp)
logs=$(mktemp)
controller=

finish() {
  if [[ -n $controller ]]; then
    kill "$controller" 2>/dev/null || true
    wait "$controller" 2>/dev/null || true
  fi
  rm -f "$feed" "$logs"
}
trap finish EXIT

die() {
  echo "demo: $*" >&2
  cat "$feed" "$logs" >&2
  exit 1
}

run() { printf '\n$ %s\n' "${*/#"$kubectl"/kubectl}"; "$@"; }

# until_shown TEXT FILE: waits until the file has the text behind its line $seen.
seen=0
until_shown() {
  local end=$((SECONDS + 60))
  until tail -n "+$((seen + 1))" "$2" | grep -qE "$1"; do
    kill -0 "$controller" 2>/dev/null || die "the controller has ended"
    ((SECONDS < end)) || die "no '$1' within 60 s"
    sleep 0.1
  done
}

show_feed() {
  tail -n "+$((seen + 1))" "$feed"
  seen=$(wc -l <"$feed")
}

"$kubectl" delete -f yaml/pod.yaml --ignore-not-found --wait >/dev/null # of an earlier demo that was cut short
run "$kubectl" apply -f yaml/testcrd.yaml
run "$kubectl" wait --for=condition=Established crd/testcrs.stable.example.com --timeout=60s >/dev/null

printf '\n$ bin/podinfolookup --kubeconfig=.cluster/kubeconfig &\n'
"$podinfolookup" --kubeconfig="$KUBECONFIG" --bind-address=127.0.0.1:0 >"$feed" 2>"$logs" &
controller=$!
until_shown "Caches synced" "$logs"
seen=$(wc -l <"$feed")

run "$kubectl" apply -f yaml/pod.yaml
until_shown "default/nginx  .*Running" "$feed"
show_feed
run "$kubectl" get testcrs --field-selector spec.podname=nginx
run "$kubectl" get testcr "$name" -o yaml
[[ -n $("$kubectl" get testcr "$name" -o 'jsonpath={.spec.podip}') ]] || die "the Testcr has no IP"

run "$kubectl" delete -f yaml/pod.yaml
until_shown "^delete: default/nginx" "$feed"
until_shown "^current list:" "$feed"
show_feed
"$kubectl" get testcr "$name" >/dev/null 2>&1 && die "the Testcr is still there"

kill "$controller"
wait "$controller" || die "the controller did not stop in good order"
controller=
cat <<'TEXT'

It works. The controller has stopped; the cluster stays up.
  use it:   export KUBECONFIG=$PWD/.cluster/kubeconfig PATH=$PWD/.cluster/bin:$PATH
            make run                     # the controller in the foreground
            kubectl apply -f yaml/pod.yaml && kubectl get testcrs      # in another terminal
  stop it:  make cluster-down
TEXT
