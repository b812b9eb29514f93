#!/usr/bin/env bash
# `make release VERSION=v1.2.3`: makes all that a release consists of, in dist/. docs/release.md has the next steps.
#   release.sh FOLDER   takes VERSION, and IMAGE (podinfolookup by default), from the environment; PLATFORMS and PROGRAMS,
#                       for tests, make it fewer; without all platforms there is no manifest for krew, which names all
# The same commit and version give the same bytes on every machine: sha256sum -c SHA256SUMS.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
die() { echo "release: $*" >&2; exit 1; }

[[ ${VERSION:-} =~ ^v(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?$ ]] ||
  die "VERSION is '${VERSION:-}': give a semantic version that begins with v, as in make release VERSION=v1.2.3"
tar --version 2>/dev/null | grep -q GNU || die "needs GNU tar on PATH, for archives that are the same each time"
[[ -z $(git status --porcelain) || -n ${ALLOW_DIRTY:-} ]] ||
  die "there are changes without a commit: commit them first (or ALLOW_DIRTY=1, for a try; the version will say so)"
image=${IMAGE:-podinfolookup}
all="linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64"
export PLATFORMS=${PLATFORMS:-$all}
out=$1
mkdir -p "$out"
out=$(cd -P "$out" && pwd)
[[ -z $(ls -A "$out") ]] || die "$out is not empty: delete it first, so that SHA256SUMS names nothing of before"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export LICENCES=${LICENCES:-$scratch/licences} LINKED=$scratch/linked
mkdir -p "$LICENCES" "$LINKED"
. hack/source.sh

# archive PROGRAM OS ARCH packs a program with its licences, and writes the list of what is in it beside it.
archive() {
  local name=$1_$2_$3 ext=
  [[ $2 != windows ]] || ext=.exe
  local stage=$scratch/$name
  mkdir -p "$stage"
  static "$2" "$3" "$stage/$1$ext" "./cmd/$1"
  licences "$2" "$stage/licenses" "./cmd/$1"
  cp LICENSE "$stage/"
  [[ $1 != kubectl-podinfo || $2 == windows ]] || install -m 755 cmd/kubectl-podinfo/kubectl_complete-podinfo "$stage/"
  pack "$out/$name.tar.gz" "$stage"
  env GOTOOLCHAIN="$RELEASE_GO" CGO_ENABLED=0 GOOS="$2" GOARCH="$3" GOFLAGS= GOWORK=off "$sbom" app -json -std -licenses \
    -noserial -notimestamp -main "cmd/$1" -output "$out/$name.cdx.json" . 2>"$scratch/log" || die "the SBOM: $(<"$scratch/log")"
  rm -r "$stage"
}

sbom=$(tool cyclonedx-gomod github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod)
for program in ${PROGRAMS:-podinfolookup kubectl-podinfo}; do
  for platform in $PLATFORMS; do archive "$program" "${platform%/*}" "${platform#*/}"; done
done

[[ $PLATFORMS != "$all" ]] || hack/krew.sh "$out" "$VERSION" >"$out/podinfo.yaml"

cp -r yaml "$scratch/yaml"
sed -i "s|^\( *newName:\) .*|\1 $image|; s|^\( *newTag:\) .*|\1 $VERSION|" "$scratch/yaml/kustomization.yaml"
.cluster/bin/kubectl kustomize "$scratch/yaml" >"$out/install.yaml"
grep -qF "image: $image:$VERSION" "$out/install.yaml" || die "install.yaml does not name the image $image:$VERSION"

hack/image.sh "$out"
(cd "$out" && sha256sum -- * >"$scratch/sums" && mv "$scratch/sums" SHA256SUMS)
echo "release: $VERSION, commit $COMMIT, $(wc -l <"$out/SHA256SUMS") files in $out"
