# Sourced by the Makefile and by the scripts that build what is given away. Sets VERSION, COMMIT, SOURCE_DATE_EPOCH, DATE
# and LDFLAGS. All are of the source, none of the build, so that the same source gives the same bytes; without git, as in
# a source archive, the first three may be given.
VERSION=${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo devel)}
COMMIT=${COMMIT:-$(git describe --always --abbrev=40 --match='' --dirty 2>/dev/null || true)}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
DATE=$(date -u -d "@$SOURCE_DATE_EPOCH" +%FT%TZ 2>/dev/null || date -u -r "$SOURCE_DATE_EPOCH" +%FT%TZ) # GNU's, or BSD's
LDFLAGS="-s -w"
for variable in version="$VERSION" commit="$COMMIT" date="$DATE"; do
  LDFLAGS+=" -X github.com/weiyuanke/PodInfoLookup/internal/version.$variable"
done
export VERSION COMMIT SOURCE_DATE_EPOCH

# static OS ARCH FILE PACKAGE builds a program without C, and with nothing in it of this machine: no path, no setting of
# whoever builds. The rest, the version of Go, is in what --version prints.
static() {
  env CGO_ENABLED=0 GOOS="$1" GOARCH="$2" GOAMD64=v1 GOARM64=v8.0 GOFLAGS= GOEXPERIMENT= GOWORK=off \
    go build -trimpath -buildvcs=false -ldflags "$LDFLAGS" -o "$3" "$4"
}

# tool NAME PACKAGE prints the path of a program of hack/release, built into bin/tools.
tool() {
  mkdir -p bin/tools
  env GOFLAGS= GOWORK=off go -C hack/release build -o "$PWD/bin/tools/$1" "$2"
  echo "$PWD/bin/tools/$1"
}
