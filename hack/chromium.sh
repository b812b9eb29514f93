#!/usr/bin/env bash
# Installs Debian's Chromium, which the browser tests and the screenshots run, if there is none.
set -euo pipefail
"$(dirname "$0")/apt.sh" chromium chromium fonts-dejavu-core
