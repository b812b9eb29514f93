#!/usr/bin/env bash
# Installs axe-core, the accessibility check that the browser tests run, in the version and with the digest of
# hack/axe/package-lock.json, into hack/axe/node_modules (git-ignored). Needs npm, and the network only when it is missing.
set -euo pipefail
cd "$(dirname "$0")/axe"
installed=node_modules/.package-lock.json
[[ -e $installed && $installed -nt package-lock.json ]] && exit
../apt.sh npm npm
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2
touch "$installed"
