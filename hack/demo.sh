#!/usr/bin/env bash
# `make demo`: some 30 Pods on the local cluster, and each way to look one of them up. The controller goes on in the
# background, so that what the reader tries next works; `make demo-down` stops it.
#   demo.sh [down]
# The end-to-end test runs it with a cluster (CLUSTER_DIR) and programs (DEMO_BIN) of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
cluster=${CLUSTER_DIR:-$PWD/.cluster}
bin=${DEMO_BIN:-$PWD/bin}
state=$cluster/demo # the pid of the controller, its output and its log
export KUBECONFIG=$cluster/kubeconfig PATH=$bin:$PWD/.cluster/bin:$PATH
name=29b36e2c6835dded8a115aee874d1ddc # md5 of "default/nginx"
feed=$state/controller.out
log=$state/controller.log
app_log=${state#"$PWD/"}/app.log # as the reader may type it

die() {
  echo "demo: $*" >&2
  tail -n 20 "$feed" "$log" >&2 || true
  exit 1
}

# running prints the pid of the controller, if it runs. The pid may belong to another process by now, so its program is
# compared.
running() {
  local pid program exe
  { read -r pid && read -r program; } 2>/dev/null <"$state/pid" || return 1
  exe=$(readlink "/proc/$pid/exe") || return 1
  [[ ${exe% (deleted)} == "$program" ]] && echo "$pid" # deleted: built again since
}

stop() {
  local pid end=$((SECONDS + 10))
  if pid=$(running); then
    kill "$pid" 2>/dev/null || true
    while running >/dev/null; do
      ((SECONDS < end)) || die "the controller, pid $pid, does not end"
      sleep 0.1
    done
    echo "demo: stopped the controller, pid $pid"
  fi
  rm -f "$state/pid"
}

if [[ ${1:-} == down ]]; then
  stop
  exit
elif (($#)); then
  echo "usage: demo.sh [down]" >&2
  exit 2
fi

started=$SECONDS
step() { echo && printf '# %s\n' "$@"; }
run() { printf '$ %s\n' "$*" && "$@"; }

# until_true SECONDS COMMAND...
until_true() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    running >/dev/null || die "the controller has ended"
    ((SECONDS < end)) || die "waited too long for: $*"
    sleep 0.1
  done
}

# The feed, from its line $seen on.
seen=0
fed() { tail -n "+$((seen + 1))" "$feed" | grep -qE "$1"; }
show_feed() {
  tail -n "+$((seen + 1))" "$feed"
  seen=$(wc -l <"$feed")
}

logged() { grep -q "$1" "$log"; }
lines() { wc -l | tr -d ' '; }
count() { kubectl get "$@" --no-headers 2>/dev/null | lines; }
in_step() { [[ $(count pods -A) == "$(count testcrs)" ]]; } # a Testcr for each Pod, and none more
settled() { # all Pods of the demo have what is looked up below
  local pods
  pods=$(kubectl get testcrs --no-headers -l stable.example.com/namespace=shop \
    -o 'custom-columns=IP:.spec.podip,PHASE:.spec.phase') || return 1
  (($(grep -cE '^[0-9a-f.:]+ +(Running|Succeeded)$' <<<"$pods") >= 29))
}

# --- an earlier demo --------------------------------------------------------------------------------------------------

mkdir -p "$state"
stop
kubectl delete -f yaml/pod.yaml -f hack/demo.yaml --ignore-not-found --wait >/dev/null
trap 'stop >&2' EXIT # until all has worked

# --- the session ------------------------------------------------------------------------------------------------------

step "A Testcr is a type of its own, so it is added to the API server first."
run kubectl apply -f yaml/testcrd.yaml
kubectl wait --for=condition=Established crd/testcrs.stable.example.com --timeout=60s >/dev/null

port=9090
! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || port=0 # another program has it: any free one
step "The controller keeps one Testcr for each Pod. By hand you would use" \
  "go run main.go --kubeconfig=.cluster/kubeconfig; this is the same program, built, in the background."
echo "\$ bin/podinfolookup --kubeconfig=.cluster/kubeconfig &"
program=$(readlink -f "$bin/podinfolookup")
"$program" --kubeconfig="$KUBECONFIG" --bind-address="127.0.0.1:$port" </dev/null >"$feed" 2>"$log" &
printf '%s\n' "$!" "$program" >"$state/pid"
until_true 60 logged "Caches synced"
until_true 60 in_step # Testcrs of an earlier demo are gone
page=http://$(sed -nE 's/.*Serving .livez and .readyz.* address="([^"]+)".*/\1/p' "$log" | head -n 1)/
seen=$(wc -l <"$feed")

step "A Pod comes: the controller prints each write, and the list once things have settled."
run kubectl apply -f yaml/pod.yaml
until_true 60 fed "default/nginx  .*Running"
show_feed
run kubectl get testcrs
step "Its Testcr has what you may hold of that Pod, each as a field to select by."
run kubectl get testcr "$name" -o yaml
[[ -n $(kubectl get testcr "$name" -o 'jsonpath={.spec.podip}') ]] || die "the Testcr has no IP"

step "The Pod goes, and its Testcr with it: nothing finds what is no longer there."
run kubectl delete -f yaml/pod.yaml
until_true 60 fed "^delete: default/nginx"
until_true 60 fed "^current list:"
show_feed
! kubectl get testcr "$name" >/dev/null 2>&1 || die "the Testcr is still there"

step "A shop to look into: three Deployments, a Job, a CronJob and a Pod on the host network."
run kubectl apply -f hack/demo.yaml
run kubectl -n shop create job report-now --from=cronjob/report
until_true 60 settled
echo "$(count testcrs) Testcrs"

ip=$(kubectl -n shop get pods -l app=checkout -o 'jsonpath={.items[0].status.podIP}')
other=$(kubectl -n shop get pods -l app=cart -o 'jsonpath={.items[0].status.podIP}')
uid=$(kubectl -n shop get pods -l app=front -o 'jsonpath={.items[0].metadata.uid}')
step "You have $ip from a log. Which Pod is that? With nothing but kubectl, a field selector finds its Testcr." \
  "(kubectl get pods has a selector for the IP, too, but none for a UID, a container, an image or a second IP.)"
run kubectl get tc --field-selector "spec.podip=$ip"

step "The plugin takes the fact as you hold it: the IP, or the whole line."
run kubectl podinfo "$ip"
echo "\$ kubectl podinfo 'dial tcp $ip:8080: connect: connection refused'"
kubectl podinfo "dial tcp $ip:8080: connect: connection refused"

step "Over HTTP the controller answers from memory, also while the API server is away."
if command -v curl >/dev/null; then
  run curl -s "$page?q=$ip"
else
  echo "(curl is not installed here) curl '$page?q=$ip'"
fi

step "The same address in a browser is a page that searches as you type."
echo "$page?q=$ip"

printf '%s\n' "03:12:07 GET /cart from $other took 2.1s" \
  "03:12:07 dial tcp $ip:8080: connect: connection refused" \
  "03:12:09 oom-kill: task_memcg=/kubepods/burstable/pod$uid" >"$app_log"
step "A log is easier to read with the Pods in it: annotate adds them behind each IP, UID and container ID."
run cat "$app_log"
echo "\$ kubectl podinfo annotate <$app_log"
kubectl podinfo annotate <"$app_log"

trap - EXIT
cat <<TEXT

It works, in $((SECONDS - started)) s. The controller goes on in the background (pid $(running), its log is
$log), so go on, too:
  export KUBECONFIG=$cluster/kubeconfig PATH=$bin:$PWD/.cluster/bin:\$PATH
  kubectl podinfo deploy/cart -o wide
  kubectl -n shop scale deploy/cart --replicas=20 && kubectl get tc -w
  $page in a browser
Stop it:
  make demo-down       # the controller; the cluster and its Pods stay
  make cluster-down    # both
TEXT
