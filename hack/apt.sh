#!/usr/bin/env bash
# apt.sh COMMAND PACKAGE... installs Debian's packages if COMMAND is not there. Needs root or sudo then.
set -euo pipefail
command -v "$1" >/dev/null && exit
command -v apt-get >/dev/null || { echo "apt.sh: there is no $1, and no apt-get to install it: put one on PATH" >&2; exit 1; }
asroot=()
((EUID == 0)) || asroot=(sudo)
# The list of packages may be missing or old; without the recommended ones it takes half the space.
"${asroot[@]}" apt-get update -qq
"${asroot[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${@:2}" >&2
