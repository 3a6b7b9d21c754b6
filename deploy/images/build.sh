#!/usr/bin/env bash
# Builds both images from the wheel in dist/, without a registry: build.sh PYTHON CACHE
# The base is Debian by mmdebstrap, kept in CACHE; packages come from the index that pip is set up for, each
# checked against the hash in requirements.lock.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")") python=$1 cache=$2
dist=$here/../../dist
version=$(basename "$dist"/valve_sidecar-*.whl | cut -d- -f2)
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT

base() {
  test -f "$cache/base.tar" && buildah inspect --type image localhost/valve-base:bookworm >/dev/null 2>&1 && return
  mkdir -p "$cache"
  test -f "$cache/base.tar" || mmdebstrap --variant=minbase --include=python3,python3-venv \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='rm -rf "$1"/var/lib/apt/lists "$1"/var/cache/apt "$1"/var/log/*' \
    bookworm "$cache/base.tar"
  printf 'FROM scratch\nADD base.tar /\n' | buildah bud --isolation=chroot --tag localhost/valve-base:bookworm \
    --file - "$cache"
}

wheels() {
  "$python" -m pip download --quiet --disable-pip-version-check --dest "$context/wheels" \
    --only-binary=:all: --python-version 3.11 --require-hashes --requirement "$here/requirements.lock"
  cp "$dist"/valve_sidecar-*.whl "$context/wheels"
  cp "$here/requirements.lock" "$context"
}

# Pure packages, and the one compiled one that `valve run` imports, for every Python it may meet.
carried() {
  mkdir -p "$context/valve/bin" "$context/valve/lib"
  cp "$here/valve" "$context/valve/bin"
  for minor in 14 13 12 11; do
    "$python" -m pip install --quiet --disable-pip-version-check --no-compile --upgrade \
      --target "$context/valve/lib" --only-binary=:all: --python-version "3.$minor" --no-deps \
      --require-hashes --requirement "$here/carrier.lock"
    mv "$context"/valve/lib/orjson/*.so "$context"
  done
  mv "$context"/*.so "$context/valve/lib/orjson"
  "$python" -m pip install --quiet --disable-pip-version-check --no-compile --no-deps \
    --target "$context/valve/lib" "$dist"/valve_sidecar-*.whl
  rm -rf "$context/valve/lib/bin"
  cp "$(command -v busybox)" "$context"
}

bud() {
  buildah bud --isolation=chroot --timestamp 0 --build-arg BASE=localhost/valve-base:bookworm \
    --tag "localhost/$1:$version" --file "$here/$2.Containerfile" "$context"
  buildah push --quiet "localhost/$1:$version" "docker-archive:$dist/$1.tar:localhost/$1:$version"
}

base
wheels
carried
rm -f "$dist"/valve-sidecar.tar "$dist"/valve-carrier.tar
bud valve-sidecar sidecar
bud valve-carrier carrier
tar -xOf "$cache/base.tar" ./var/lib/dpkg/status >"$context/status"
"$python" "$here/sbom.py" "$here/requirements.lock" "$context/status" >"$dist/valve-sidecar.cdx.json"
"$python" "$here/sbom.py" "$here/carrier.lock" >"$dist/valve-carrier.cdx.json"
