#!/usr/bin/env bash
# Prints the folder of PostgreSQL's programs, which the tests of the history start. Installs Debian's package if there is none.
set -euo pipefail
cd "$(dirname "$0")"
programs() {
  local found=(/usr/lib/postgresql/*/bin/initdb)
  [[ -x ${found[-1]} ]] || found=("$(command -v initdb)") || return
  dirname "${found[-1]}"
}
programs && exit
./apt.sh pg_createcluster postgresql-common
asroot=()
((EUID == 0)) || asroot=(sudo)
# The package would create and start a cluster of its own.
"${asroot[@]}" sed -ri 's/^#?(create_main_cluster) .*$/\1 = false/' /etc/postgresql-common/createcluster.conf
./apt.sh initdb postgresql
programs
