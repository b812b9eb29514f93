#!/usr/bin/env bash
# `make screenshots`: makes docs/screenshots/*.png again, from the page as it is now, on a real API server.
set -euo pipefail
cd "$(dirname "$0")/.."
hack/chromium.sh
mkdir -p docs/screenshots
mkdir -p dist/screenshots # of each state and width, to be looked at
go -C test test -count=1 -run '^TestPage_(Screenshots|Layout)$' ./page -screenshots="$PWD/docs/screenshots" -states="$PWD/dist/screenshots"
ls -l docs/screenshots
