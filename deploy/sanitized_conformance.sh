#!/bin/sh
# The conformance suite on the native data plane, with libvalve.so under the sanitizers that BUILD was made with.
# sanitized_conformance.sh BUILD, from the root of a checkout; `make sanitize` calls it.
set -e
place=$1/packages
rm -rf "$place"
mkdir -p "$place"
cp -r gpu_runtime/valve_runtime "$place"
cp "$1/native/libvalve.so" "$place/valve_runtime"
export PYTHONPATH="$PWD/$place:sidecar:adapters:loadgen"
export ASAN_OPTIONS=detect_leaks=0 # the interpreter's own
LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" \
  .venv/bin/python -m pytest tests/conformance -q -k native -p no:cacheprovider
