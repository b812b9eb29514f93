#!/usr/bin/env bash
# Finds the words of hack/words.txt in the comments of Go files and shell scripts, and in the docs.
set -euo pipefail
cd "$(dirname "$0")/.."
words=$(sed -E '/^#/d; s/ = .*//' hack/words.txt | paste -sd'|')
files() { git ls-files -co --exclude-standard "$@" | grep -vE '^(docs/benchmarks/|docs/licenses.md|hack/check-words.sh|LICENSE)'; }
bad=0
# A comment begins the line or follows a space; quoted text of a program between backquotes or double quotes does not count.
comments() {
  files '*.go' | xargs grep -nHP '(^|\s)//(?!nolint|go:)' | sed -E 's/^([^:]*:[0-9]+):.*(^|[[:space:]]|:)\/\/ ?/\1: /'
  files '*.sh' | xargs grep -nHP '(^|\s)# ' | sed -E 's/^([^:]*:[0-9]+):(.*[[:space:]])?# /\1: /'
}
docs() { files '*.md' | xargs awk 'FNR == 1 { code = 0 } /^ *```/ { code = !code; next } !code { print FILENAME ":" FNR ": " $0 }'; }
if { comments; docs; } | sed -E 's/`[^`]*`//g; s/"[^"]*"//g' | grep -iE ": .*\b($words)\b"; then
  echo "these lines have words that hack/words.txt replaces"
  bad=1
fi
exit "$bad"
