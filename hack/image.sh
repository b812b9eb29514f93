#!/usr/bin/env bash
# `make image`: builds the image for linux/amd64 and linux/arm64, without a Docker daemon and without a registry.
#   image.sh [FOLDER]   writes FOLDER/podinfolookup-image.tar (dist by default), an OCI archive, and prints its digest;
#                       PLATFORMS, for tests, makes it fewer
# The same source gives the same digest: the binaries hold nothing of the build, and all times are that of the commit.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
out=${1:-dist}
hack/apt.sh buildah buildah
mkdir -p "$out"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export LICENCES=${LICENCES:-$scratch/licences}
mkdir -p "$LICENCES"
. hack/source.sh
arches=
for arch in amd64 arm64; do # always in this order, as it is part of the digest
  [[ " ${PLATFORMS:-linux/amd64 linux/arm64} " != *" linux/$arch "* ]] || arches+=" $arch"
done

for arch in $arches; do
  stage=$scratch/context/linux_$arch
  mkdir -p "$stage"
  static linux "$arch" "$stage/podinfolookup" ./cmd/podinfolookup
  licences linux "$stage/licenses" ./cmd/podinfolookup
  cp LICENSE "$stage/"
done
chmod -R u=rwX,go=rX "$scratch/context" # whatever the umask

# Nothing is run in the image, so neither a namespace nor a mount is needed; vfs works in a container, too.
storage() { buildah --root "$scratch/root" --runroot "$scratch/run" --storage-driver vfs "$@"; }
list=localhost/podinfolookup:$VERSION
{
  storage manifest create "$list"
  for arch in $arches; do # one by one
    storage build --isolation chroot --platform "linux/$arch" --timestamp "$SOURCE_DATE_EPOCH" --tag "$arch" \
      --label org.opencontainers.image.title=podinfolookup \
      --label org.opencontainers.image.source=https://github.com/weiyuanke/PodInfoLookup \
      --label org.opencontainers.image.licenses=Apache-2.0 \
      --label org.opencontainers.image.version="$VERSION" \
      --label org.opencontainers.image.revision="$COMMIT" \
      --label org.opencontainers.image.created="$DATE" \
      -f Dockerfile "$scratch/context"
    storage manifest add "$list" "$arch"
  done
  storage manifest push --all "$list" "oci:$scratch/image:$VERSION"
} >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2; exit 1; }
pack "$out/podinfolookup-image.tar" "$scratch/image"
echo "$out/podinfolookup-image.tar: $VERSION for linux on$arches, sha256:$(sed -n 's/.*"manifests":\[{[^}]*"digest":"sha256:\([0-9a-f]*\)".*/\1/p' "$scratch/image/index.json")"
