#!/usr/bin/env bash
# A local Kubernetes cluster without containers: upstream's own etcd, API server, controller manager and scheduler, built
# from the versions in go.mod beside this file, and kwok, which plays the kubelets (its Pods get an IP and run nothing).
# Everything is kept in .cluster/ of this checkout, so two checkouts are two clusters; ~/.kube and ~/.kwok are not used.
# CLUSTER_DIR=folder keeps another cluster there, of the same binaries: the end-to-end test has one of its own.
set -euo pipefail
shopt -s inherit_errexit

usage() {
  cat <<'USAGE'
usage: cluster.sh build | up | status | down
  build   build etcd, kubectl, kube-apiserver, ... into .cluster/bin (about 10 minutes when Go's caches are cold)
  up      build, then start the cluster, or heal it; NODES=n sets the number of simulated nodes (40 at first)
  status  one line a component, and where the kubeconfig and the audit log are; exit 0 only if all are healthy
  down    stop the cluster and delete it; .cluster/bin stays, as it takes so long to build
USAGE
}

die() { echo "cluster: $*" >&2; exit 1; }
note() { echo "cluster: $*" >&2; }

# Processes are identified by their entries in /proc, and the lock is flock(1).
[[ -e /proc/self/exe ]] || die "needs Linux (on other systems: a Linux VM)"

# Physical paths, because /proc/PID/exe gives those.
here=$(cd -P "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
physical() { mkdir -p "$1" && cd -P "$1" && pwd -P; }
built=$(physical "$here/../../.cluster")
state=$(physical "${CLUSTER_DIR:-$built}")
bin=$built/bin
stamps=$built/stamps
work=$state/.kwok # all that `down` deletes, but for the kubeconfig and the log
name=podinfolookup
cdir=$work/clusters/$name
kubeconfig=$state/kubeconfig
log=$state/cluster.log
components=(etcd kube-apiserver kube-controller-manager kube-scheduler kwok-controller)

# A caller's settings for other clusters, or for cross-compiling, are not meant for this one.
while read -r v; do unset "$v"; done < <(compgen -e | grep '^KWOK_' || true)
unset GOOS GOARCH KUBECONFIG
# kwokctl runs the first kubectl of PATH and would download one if there were none; kubectl would cache in ~/.kube.
export PATH=$bin:$PATH KUBECACHEDIR=$work/kubectl-cache KUBERC=off

# One writer at a time. Long-lived children must not inherit fd 9, or the lock would live as long as they do.
lock() {
  exec 9>"$built/lock"
  flock -n 9 || { note "waiting for another cluster.sh of this checkout"; flock 9; }
}

# --- build ------------------------------------------------------------------------------------------------------------

tools=( # name package
  "etcd go.etcd.io/etcd/server/v3"
  "kubectl k8s.io/kubernetes/cmd/kubectl"
  "kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver"
  "kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager"
  "kube-scheduler k8s.io/kubernetes/cmd/kube-scheduler"
  "kwok-controller sigs.k8s.io/kwok/cmd/kwok"
  "kwokctl sigs.k8s.io/kwok/cmd/kwokctl"
)

go_() { GOWORK=off go -C "$here" "$@" 9>&-; }

# The versions are stamped in because clients refuse to parse the API server's unstamped one.
ldflags() {
  local kube kwok major minor p out="-s -w"
  { read -r kube; read -r kwok; } < <(go_ list -mod=readonly -m -f '{{.Version}}' k8s.io/kubernetes sigs.k8s.io/kwok)
  IFS=. read -r major minor _ <<<"${kube#v}"
  for p in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    out+=" -X $p.gitVersion=$kube -X $p.gitMajor=$major -X $p.gitMinor=$minor"
  done
  echo "$out -X sigs.k8s.io/kwok/pkg/consts.Version=$kwok"
}

compile() { # ldflags package output
  CGO_ENABLED=0 go_ build -mod=readonly -trimpath -ldflags "$1" -o "$3" "$2"
}

build_key() {
  { cat "$here/go.mod" "$here/go.sum"
    printf '%s\n' "${tools[@]}"
    declare -f go_ ldflags compile
    go_ env GOVERSION GOARCH; } | sha256sum | cut -d' ' -f1
}

build() {
  command -v go >/dev/null || die "needs Go (the version in go.mod): https://go.dev/dl"
  local key i tool package flags="" start
  key=$(build_key)
  for i in "${!tools[@]}"; do
    read -r tool package <<<"${tools[i]}"
    # A stamp for each, so that an interrupted build goes on where it was.
    [[ -x $bin/$tool && -r $stamps/$tool && $(<"$stamps/$tool") == "$key" ]] && continue
    if [[ -z $flags ]]; then
      note "building into .cluster/bin; a first build takes about 10 minutes, one with warm caches 30 s"
      mkdir -p "$bin" "$stamps"
      flags=$(ldflags)
    fi
    printf 'cluster: building %s (%d of %d)' "$tool" "$((i + 1))" "${#tools[@]}" >&2
    start=$SECONDS
    if ! compile "$flags" "$package" "$bin/.$tool.new" >"$log" 2>&1; then
      { echo; tail -n 30 "$log"; } >&2
      die "$tool did not build"
    fi
    mv -f "$bin/.$tool.new" "$bin/$tool" # a running one keeps its inode
    echo "$key" >"$stamps/$tool"
    printf ', %d s\n' "$((SECONDS - start))" >&2
  done
}

# --- what runs --------------------------------------------------------------------------------------------------------

# Prints "pid name" of each process of this cluster: one of our binaries that works inside $work. Pid files are
# not used, because a pid may belong to another process by now, and the tests run the same binaries for other clusters.
running() {
  local pid exe cwd
  while IFS=$'\t' read -r pid exe; do
    exe=${exe% (deleted)} # rebuilt since it was started
    [[ ${exe%/*} == "$bin" ]] || continue
    cwd=$(readlink "/proc/$pid/cwd") || continue
    [[ ${cwd% (deleted)}/ == "$work"/* ]] || continue
    echo "$pid ${exe##*/}"
  done < <(find /proc/[0-9]*/exe -maxdepth 0 -printf '%h\t%l\n' 2>/dev/null | cut -c7-)
}

all_run() {
  local c now
  now=$(running)
  for c in "${components[@]}"; do [[ $now$'\n' == *" $c"$'\n'* ]] || return 1; done
}

kctl() { "$bin/kubectl" --kubeconfig "$cdir/kubeconfig.yaml" --request-timeout=5s "$@"; }

health_url() { # component
  local base
  base=$(<"$work/port")
  case $1 in
    etcd) echo "http://127.0.0.1:$base/health" ;;
    kube-apiserver) echo "https://127.0.0.1:$((base + 2))/readyz" ;;
    kube-controller-manager) echo "https://127.0.0.1:$((base + 3))/healthz" ;;
    kube-scheduler) echo "https://127.0.0.1:$((base + 4))/healthz" ;;
    kwok-controller) echo "http://127.0.0.1:$((base + 5))/healthz" ;;
  esac
}

# kubectl as the HTTP client: it is there, ignores proxies for loopback, and has the certificate that /readyz may ask for.
answers() { # component
  local url
  url=$(health_url "$1")
  kctl --server "${url%/*}" --insecure-skip-tls-verify get --raw "/${url##*/}" >/dev/null 2>&1
}

healthy() {
  [[ -r $work/port ]] && all_run || return 1
  local c p pids=() bad=0
  for c in "${components[@]}"; do answers "$c" & pids+=($!); done
  for p in "${pids[@]}"; do wait "$p" || bad=1; done
  return $bad
}

wait_for() { # seconds command...
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 0.2
  done
}

until_healthy() { # seconds; gives up at once when a component has ended, as nothing starts it again
  local end=$((SECONDS + $1))
  until healthy; do
    all_run && ((SECONDS < end)) || return 1
    sleep 0.2
  done
}

nodes() { # prints "ready total"
  local list
  list=$(kctl get nodes -o 'jsonpath={range .items[*]}{.kind}={.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}') || return
  awk '/=/ { total++ } /=True/ { ready++ } END { print ready + 0, total + 0 }' <<<"$list"
}

# A Pod can be created: admission wants the namespace's ServiceAccount, and the scheduler nodes that are ready.
usable() {
  local ready total
  kctl get serviceaccount default -n default >/dev/null 2>&1 || return 1
  read -r ready total < <(nodes 2>/dev/null) && ((ready == total))
}

# --- start and stop ---------------------------------------------------------------------------------------------------

stopped() { [[ -z $(running) ]]; }

# SIGKILL, as kwokctl has it too: etcd acknowledges a write only when it is on disk, so nothing is lost.
stop() {
  local pid
  while read -r pid _; do kill -KILL "$pid" 2>/dev/null || true; done < <(running)
  wait_for 10 stopped || die "these do not end: $(running | tr '\n' ' ')"
}

# HOME makes $work its ~/.kwok; the variable meant for that, KWOK_WORKDIR, is cut at the first space.
# Run inside $work so that running() finds a kwokctl whose cluster.sh was killed, before it starts more components.
kwokctl() { # seconds args...
  local limit=$1
  shift
  (cd "$work" && HOME=$state exec timeout --foreground -k 5 "$limit" "$bin/kwokctl" --name "$name" "$@") >>"$log" 2>&1 9>&-
}

free() { # ports...; true if nobody listens on them, on any address
  local p
  for p; do
    ! grep -qE "^ *[0-9]+: [0-9A-F]+:$(printf %04X "$p") [0-9A-F]+:0000 0A" /proc/net/tcp /proc/net/tcp6 2>/dev/null || return 1
  done
}

six() { echo $(($1)) $(($1 + 1)) $(($1 + 2)) $(($1 + 3)) $(($1 + 4)) $(($1 + 5)); }

# kwokctl would take the highest free ports below 32767, which another checkout's stopped cluster may own, or one that is
# being created at the same time. A random block makes that unlikely; below the ephemeral range no client socket is on it.
pick_port() {
  local top base
  read -r top _ </proc/sys/net/ipv4/ip_local_port_range
  ((top > 11000 && top < 30000)) || top=30000
  for _ in {1..100}; do
    base=$((10000 + RANDOM % ((top - 10000) / 10) * 10))
    # shellcheck disable=SC2046 # six words
    if free $(six "$base"); then echo "$base"; return; fi
  done
  die "no six free ports between 10000 and $top"
}

# kwokctl reads $work/kwok.yaml by itself.
# - bindAddress: all six ports are on loopback only.
# - advertise-address: without a network the API server finds no address and ends; loopback it refuses. Nothing connects
#   to this one (TEST-NET-2), it only stands in the Endpoints of the Service "kubernetes".
# - service-cluster-ip-range: the default one, 10.0.0.0/24, is also the Pod range of kwok's first node.
# - audit-log-*: a rotation at the default 100 MB would hide writes from a test that counts them.
# - leader-elect: a restarted one would wait 15 s for the lease of its killed forerunner.
# - config: relative to its folder, as this flag splits a path at a comma.
write_config() { # base port
  cat <<YAML
apiVersion: config.kwok.x-k8s.io/v1alpha1
kind: KwokctlConfiguration
options:
  bindAddress: 127.0.0.1
  etcdPort: $1
  etcdPeerPort: $(($1 + 1))
  kubeApiserverPort: $(($1 + 2))
  kubeControllerManagerPort: $(($1 + 3))
  kubeSchedulerPort: $(($1 + 4))
  kwokControllerPort: $(($1 + 5))
componentsPatches:
- name: kube-apiserver
  extraArgs:
  - {key: advertise-address, value: 198.51.100.1}
  - {key: service-cluster-ip-range, value: 10.96.0.0/16}
  - {key: audit-log-maxsize, value: "1024"}
  - {key: audit-log-maxbackup, value: "1"}
- name: kube-controller-manager
  extraArgs: [{key: leader-elect, value: "false"}]
- name: kube-scheduler
  extraArgs: [{key: leader-elect, value: "false"}]
- name: kwok-controller
  extraArgs: [{key: config, value: kwok.yaml, override: true}]
YAML
}

# Node leases are off (0): a restarted kwok would leave its nodes alone until the killed one's leases end, 200 s later.
create() {
  local base c args=()
  remove
  mkdir -p "$work"
  : >"$log"
  base=$(pick_port) || return
  echo "$base" >"$work/port"
  write_config "$base" >"$work/kwok.yaml"
  for c in "${components[@]}"; do args+=("--$c-binary" "$bin/$c"); done
  kwokctl 90 create cluster --runtime binary --kubeconfig "" --kube-audit-policy "$here/audit-policy.yaml" \
    --node-lease-duration-seconds 0 "${args[@]}" || return 1
  # On a slow machine the controller manager ends, because it waits no more than 10 s for the API server.
  until_healthy 60 || start || return 1
  cluster_key >"$work/created" # last: its absence marks a create that was cut short
}

# Starts the components that do not run. kwokctl relies on its pid files. Where process 1 does not reap
# (containers), a killed component stays a zombie. kwokctl takes that for running, and would wait for it in vain.
start() {
  local pid c
  rm -f "$cdir"/pids/*.pid
  while read -r pid c; do printf %s "$pid" >"$cdir/pids/$c.pid"; done < <(running)
  kwokctl 60 start cluster || return 1
  until_healthy 30
}

remove() {
  stop
  rm -rf "$work" "$kubeconfig"
}

# What a cluster was made of. Paths are in its configuration, so a copied or moved checkout needs a new one as well.
cluster_key() {
  { echo "$work"
    build_key
    cat "$here/audit-policy.yaml"
    declare -f write_config create; } | sha256sum | cut -d' ' -f1
}

heal() {
  if all_run; then
    # Under load a probe may time out, which is no reason to restart what somebody is using.
    until_healthy 20 && return
  elif [[ -n $(running) ]]; then
    note "starting the components that have ended"
    start && return
  fi
  note "restarting the cluster"
  stop
  # A killed process leaves running() a little before its ports are free.
  # shellcheck disable=SC2046 # six words
  wait_for 5 free $(six "$(<"$work/port")") || { note "another program has taken a port of this cluster"; return 1; }
  start
}

show_logs() { # of kwokctl, and of each component that does not answer
  local c
  tail -n 5 "$log" >&2
  for c in "${components[@]}"; do
    answers "$c" || [[ ! -r $cdir/logs/$c.log ]] || { echo "--- $c:"; tail -n 5 "$cdir/logs/$c.log"; } >&2
  done
}

write_kubeconfig() { # with the certificates inside, so that the file can be copied
  (umask 077 && "$bin/kubectl" --kubeconfig "$cdir/kubeconfig.yaml" config view --raw --flatten >"$kubeconfig.new")
  mv -f "$kubeconfig.new" "$kubeconfig"
}

scale() {
  local total want=${NODES:-}
  read -r _ total < <(nodes)
  [[ -n $want || $total -gt 0 ]] || want=40
  [[ -z $want || $want -eq $total ]] && return
  note "scaling from $total to $want nodes"
  kwokctl 300 scale node --replicas "$want" || { show_logs; die "could not make $want nodes"; }
}

up() {
  [[ ${NODES:-0} =~ ^(0|[1-9][0-9]*)$ ]] || die "NODES=$NODES is not a number"
  build
  local why=""
  if [[ ! -e $work ]]; then why="starting a new cluster"
  elif [[ ! -r $work/created || $(<"$work/created") != "$(cluster_key)" ]]; then
    why="the cluster is unfinished, or of other binaries, settings or path; making it anew"
  elif ! healthy && ! heal; then why="could not heal it; making it anew, without its data"
  fi
  if [[ -n $why ]]; then
    note "$why"
    create || { show_logs; die "the cluster did not start; its logs are in $cdir/logs"; }
  fi
  [[ -e $kubeconfig ]] || write_kubeconfig
  scale
  wait_for 60 usable || { show_logs; die "nodes or ServiceAccount not ready (nodes: $(nodes | tr ' ' /) ready)"; }
  echo "cluster is up, $(nodes | cut -d' ' -f2) nodes; kubeconfig: $kubeconfig"
  echo "stop and delete it: make cluster-down"
}

down() {
  local said="there is no cluster"
  [[ ! -e $work && -z $(running) ]] || said="stopped and deleted"
  remove
  rm -f "$log"
  echo "cluster: $said"
}

status() {
  local c pid now bad=0 ready total
  [[ -r $work/port ]] || { echo "there is no cluster"; return 1; }
  now=$(running)
  for c in "${components[@]}"; do
    pid=$(awk -v c="$c" '$2 == c { print $1 }' <<<"$now" | paste -sd,)
    if [[ -z $pid ]]; then
      printf '%-24s has ended\n' "$c"
      bad=1
    elif answers "$c"; then
      printf '%-24s healthy, pid %s, %s\n' "$c" "$pid" "$(health_url "$c")"
    else
      printf '%-24s does not answer, pid %s, %s\n' "$c" "$pid" "$(health_url "$c")"
      bad=1
    fi
  done
  if read -r ready total < <(nodes 2>/dev/null); then
    printf '%-24s %s of %s ready\n' nodes "$ready" "$total"
    ((ready == total)) || bad=1
  fi
  printf '%-24s %s\n' kubeconfig "$kubeconfig" "audit log" "$cdir/logs/audit.log" "component logs" "$cdir/logs"
  return "$bad"
}

trap 'note "interrupted; the next call goes on from here"; exit 130' INT TERM
case ${1:-} in
  build | up | down) lock; "$1" ;;
  status) status ;;
  *) usage >&2; exit 2 ;;
esac
