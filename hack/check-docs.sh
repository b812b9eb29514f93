#!/usr/bin/env bash
# Holds the documentation to the code: links lead somewhere, make targets and tests exist, the table of fields is that of the CRD.
set -euo pipefail
cd "$(dirname "$0")/.."
bad=0
complain() { echo "$*"; bad=1; }

while IFS=: read -r file link; do
  target=${link%%#*}
  [[ -z $target || $target == *://* || -e $(dirname "$file")/$target ]] || complain "$file links to $target, which is not there"
done < <(git ls-files -co --exclude-standard '*.md' | xargs grep -oHP '\]\(\K[^)]+')

while IFS=: read -r file target; do
  grep -q "^$target:" Makefile || complain "$file speaks of 'make $target', which the Makefile does not have"
done < <(git ls-files -co --exclude-standard '*.md' | xargs grep -oHP '(^|`)make \K[a-z][a-z-]+' | sort -u)

tests=$(git ls-files -co --exclude-standard '*_test.go' | xargs grep -ohP '^func \K(Test|Fuzz|Benchmark)[A-Z]\w*')
while IFS=: read -r file name; do
  grep -qx "$name" <<<"$tests" || complain "$file names the test $name, which is not there"
done < <(git ls-files -co --exclude-standard '*.md' | xargs grep -oHP '`\K(Test|Fuzz|Benchmark)[A-Z]\w*(?=[/`])' | sort -u)

crd=$(sed -n '/^ *spec:$/,$p' yaml/testcrd.yaml | awk '/^              [a-z]+:$/ { sub(":", ""); print $1 }' | sort -u)
table=$(sed -n '/^## Fields/,/^Its labels/p' README.md | grep -P '^\| `' | cut -d'|' -f2 | grep -oP '`\K[a-z]+' | sort -u)
diff <(echo "$crd") <(echo "$table") || complain "README.md's table of fields (>) is not that of yaml/testcrd.yaml (<)"

exit "$bad"
