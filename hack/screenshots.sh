#!/usr/bin/env bash
# `make screenshots`: makes docs/screenshots/*.png again, from the page as it is now, on a real API server.
set -euo pipefail
cd "$(dirname "$0")/.."
hack/chromium.sh
mkdir -p docs/screenshots
go -C test test -count=1 -run '^TestPage_Screenshots$' ./page -screenshots="$PWD/docs/screenshots"
ls -l docs/screenshots
