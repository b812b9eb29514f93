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

# The Go of what is built, whatever Go is at hand: the go command fetches it as a module.
RELEASE_GO=$(awk '$1 == "toolchain" { print $2 }' go.mod)

# static OS ARCH FILE PACKAGE builds a program without C, and with nothing in it of this machine: no path, and no setting
# of the user. The folder LINKED, if it is set, keeps it, since the image has the program of an archive.
static() {
  local linked=${LINKED:+$LINKED/$1-$2-${4##*/}}
  if [[ ! -e $linked ]]; then
    env GOTOOLCHAIN="$RELEASE_GO" CGO_ENABLED=0 GOOS="$1" GOARCH="$2" GOAMD64=v1 GOARM64=v8.0 GOFLAGS= GOEXPERIMENT= GOWORK=off \
      go build -trimpath -buildvcs=false -ldflags "$LDFLAGS" -o "${linked:-$3}" "$4"
  fi
  [[ -z $linked ]] || cp "$linked" "$3"
}

# tool NAME PACKAGE prints the path of a program of hack/release, built into bin/tools.
tool() {
  mkdir -p bin/tools
  env GOFLAGS= GOWORK=off go -C hack/release build -o "$PWD/bin/tools/$1" "$2"
  echo "$PWD/bin/tools/$1"
}

# licences OS FOLDER PACKAGE collects the licences and notices of all that is linked into a program, Go's own with them.
# What may not be given away, or only with its source, fails. Found once for a system, they are kept in the folder LICENCES.
licences() {
  local found=$LICENCES/$1-${3##*/} licenses
  if [[ ! -e $found ]]; then
    licenses=$(tool go-licenses github.com/google/go-licenses/v2)
    GOOS=$1 GOFLAGS= "$licenses" check "$3" --disallowed_types=forbidden,restricted,unknown 2>"$LICENCES/log" || { cat "$LICENCES/log" >&2; return 1; }
    GOOS=$1 GOFLAGS= "$licenses" save "$3" --ignore github.com/weiyuanke/PodInfoLookup --save_path "$found" 2>"$LICENCES/log" || { cat "$LICENCES/log" >&2; return 1; }
    mkdir "$found/go"
    cp "$(GOTOOLCHAIN=$RELEASE_GO go env GOROOT)/LICENSE" "$found/go/"
  fi
  cp -r "$found" "$2"
}

# pack ARCHIVE FOLDER writes a .tar.gz, or a .tar, with nothing in it of when and by whom it was made.
pack() {
  tar --sort=name --owner=0 --group=0 --numeric-owner --mode='u=rwX,go=rX' --mtime="@$SOURCE_DATE_EPOCH" --format=gnu -C "$2" -c . |
    if [[ $1 == *.gz ]]; then gzip -n; else cat; fi >"$1"
}
