#!/usr/bin/env bash
# Measures, on a machine with an NVIDIA GPU, what Valve needs to know of it. From the repository root:
#
#     bash tests/gpu/run.sh [--only a,c,vmm]      # the parts, by letter or name; default: all, under 8 minutes
#     bash tests/gpu/run.sh --fake                # tests the kit itself on the fake driver of a CMake build
#
# Needs cc and the driver, nothing else; Python engines are used where they are there. Writes a table to standard
# output, and gpu-kit.json and gpu-kit.log to $OUT (default: out/gpu). No setting of the card is touched. Whatever
# takes channels off puts them back: every process by itself, on every way to end (rescue.c), and this script ends
# them all by a signal that lets them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

TOTAL_S=470
PARTS="probe gate correct torch cupy sharing vmm pair engines"

fake=0 only=""
while (($#)); do
  case $1 in
    --fake) fake=1 ;;
    --only) shift; only=${1:?--only needs a list of parts} ;;
    *) echo "usage: run.sh [--fake] [--only a,b,...]" >&2; exit 2 ;;
  esac
  shift
done

out=${OUT:-out/gpu}
mkdir -p "$out"
out=$(cd "$out" && pwd)
log=$out/gpu-kit.log
: >"$log"
work=$(mktemp -d)
export KIT_SCRATCH=$work
export CUDA_MODULE_LOADING=EAGER # loading code beside a kernel that does not end would wait for it
running="" watching=""

stop_running() {
  local pid
  for pid in $running $watching; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in $running $watching; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap stop_running EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say() { printf '%s\n' "$*" | tee -a "$log"; }

# ---- building ----

cflags=(-std=gnu11 -D_GNU_SOURCE -O2 -g -fPIC -fvisibility=hidden -pthread -Inative/include -Inative/src
  -Inative/preload -Itests/gpu)

# Objects of all of $3... into $2, named by their path; $1 jobs at a time.
compile() {
  local jobs=$1 folder=$2
  shift 2
  mkdir -p "$folder"
  printf '%s\n' "$@" | xargs -P "$jobs" -I{} sh -c \
    'source=$1 folder=$2; shift 2; exec cc "$@" -c "$source" -o "$folder/$(echo "$source" | tr / _).o"' \
    sh {} "$folder" "${cflags[@]}"
}

build_libraries() {
  compile "$(nproc)" "$work/core" native/src/*.c
  compile "$(nproc)" "$work/shim" native/preload/*.c
  cc -shared -pthread "$work"/core/*.o -o "$build/libvalve.so"
  cc -shared -pthread "$work"/core/*.o "$work"/shim/*.o -o "$build/libvalve_preload.so" -ldl \
    -Wl,--version-script=native/preload/preload.map -Wl,-z,now
  install -m 755 "$build/libvalve.so" "$build/libvalve_preload.so" gpu_runtime/valve_runtime/
}

# Of the shim the kit links what learns and stops channels.
build_kit() {
  local learning=()
  for name in registry observer rm_call channels; do learning+=("native/preload/$name.c"); done
  compile "$(nproc)" "$work/kit" tests/gpu/*.c "${learning[@]}"
  cc -pthread -rdynamic "$work"/kit/*.o -o "$build/kit" -L"$libraries" -lvalve -ldl -lm -Wl,-rpath,"$libraries"
}

build=${KIT_BUILD:-build/gpu-kit}
mkdir -p "$build"
build=$(cd "$build" && pwd)
if ((fake)); then
  prebuilt=${VALVE_BUILD:-build/native}
  shim=$(find "$prebuilt" -name libvalve_preload.so -print -quit)
  rm_fake=$(find "$prebuilt" -name libfake_rm.so -print -quit)
  cuda_fake=$(find "$prebuilt" -name libcuda.so.1 -print -quit)
  if [[ -z $shim || -z $rm_fake || -z $cuda_fake ]]; then
    echo "run.sh --fake needs a CMake build with the fakes: make native, or set VALVE_BUILD" >&2
    exit 2
  fi
  libraries=$(cd "$(dirname "$shim")" && pwd)
else
  build_libraries >>"$log" 2>&1 || { tail -n 20 "$log" >&2; exit 1; }
  libraries=$build
fi
export KIT_SHIM=$libraries/libvalve_preload.so
build_kit >>"$log" 2>&1 || { tail -n 20 "$log" >&2; exit 1; }

# The fakes lie below everything that the kit starts, but not below this script's own tools.
kit=("$build/kit")
if ((fake)); then
  kit=(env KIT_FAKE=1 "LD_PRELOAD=$(realpath "$rm_fake")" "LD_LIBRARY_PATH=$(realpath "$(dirname "$cuda_fake")")"
    "$build/kit")
fi

# ---- what the machine has ----

python=${PYTHON:-python3}
has_module() { command -v "$python" >/dev/null && "$python" -c \
  'import importlib.util, sys; sys.exit(any(importlib.util.find_spec(m) is None for m in sys.argv[1:]))' "$@" 2>/dev/null; }

gpu=$(nvidia-smi --query-gpu=name,driver_version,mig.mode.current,compute_mode --format=csv,noheader 2>/dev/null |
  head -n 1 | tr -d '"\\' || true)
flavour=$(grep -o -m 1 -i 'open kernel module' /proc/driver/nvidia/version 2>/dev/null || true)

xids_in_dmesg() { dmesg 2>/dev/null | grep -c 'NVRM: Xid' || true; }
if dmesg >/dev/null 2>&1; then xids_before=$(xids_in_dmesg); else xids_before=""; fi

# ---- running ----

is_wanted() { # name letter
  [[ -z $only || ,$only, == *,$1,* || ,$only, == *,$2,* ]]
}

note() { # part status seconds
  printf '%s %s\n' "$2" "$3" >"$work/$1.status"
  touch "$work/$1.jsonl" "$work/$1.rows"
}

skip() { # part reason
  note "$1" "skipped: $2" 0
  say "-- $1: skipped: $2"
}

# Runs one part under its own limit and what is left of the whole.
run_part() { # name letter limit_s command...
  local name=$1 letter=$2 limit=$3 status=0 begin=$SECONDS
  shift 3
  is_wanted "$name" "$letter" || return 0
  if ((limit > TOTAL_S - SECONDS)); then limit=$((TOTAL_S - SECONDS)); fi
  if ((limit < 5)); then skip "$name" "no time left"; return 0; fi
  say "-- $name (at most $limit s)"
  KIT_RECORDS=$work/$name.jsonl KIT_ROWS=$work/$name.rows KIT_LIMIT_S=$limit timeout -k 10 "$limit" "$@" >>"$log" 2>&1 &
  running=$!
  wait "$running" || status=$?
  running=""
  note "$name" "$(word_for "$status")" "$((SECONDS - begin))"
}

word_for() {
  case $1 in 0) echo ok ;; 3) echo no-gpu ;; 124 | 137) echo timed-out ;; *) echo failed ;; esac
}

# A framework's own kernels under the shim, the gate worked at random.
run_framework() { # module
  if ((fake)) || ! has_module "$1"; then
    if is_wanted "$1" c; then skip "$1" "not here"; fi
    return 0
  fi
  run_part "$1" c 75 "${kit[@]}" flip "$1 under random preemption" 12 "$python" tests/gpu/frameworks.py "$1"
}

if [[ -z $only ]]; then
  KIT_RECORDS=$work/xids.jsonl KIT_ROWS=$work/xids.rows "${kit[@]}" xids >>"$log" 2>&1 &
  watching=$!
fi

run_part probe a 110 "${kit[@]}" probe
run_part gate b 170 "${kit[@]}" gate
run_part correct c 50 "${kit[@]}" correct
run_framework torch
run_framework cupy
run_part sharing d 60 "${kit[@]}" sharing
run_part vmm e 50 "${kit[@]}" vmm
run_part pair f 120 "${kit[@]}" pair
if ((fake)) || has_module torch transformers; then
  backend=transformers
  if ((fake)); then backend=stand-in; elif [[ -n ${KIT_VLLM_MODEL:-} ]] && has_module vllm; then
    backend=vllm,${KIT_OFFLINE_ENGINE:-vllm}
  fi
  run_part engines f 150 env PYTHONPATH="sidecar:gpu_runtime:adapters:loadgen:tests/gpu:${PYTHONPATH:-}" \
    "$python" tests/gpu/engine_arms.py "$backend"
elif is_wanted engines f; then
  skip engines "needs PyTorch and transformers"
fi

if [[ -n $watching ]]; then
  kill -TERM "$watching" 2>/dev/null || true
  wait "$watching" || true
  watching=""
  note xids ok 0
fi

# ---- telling ----

text() { printf '%s' "$1" | tr -d '"\\\n'; }

part_json() { # name
  local status
  status=$(sed 's/ [0-9]*$//' "$work/$1.status")
  printf '"%s":{"status":"%s","seconds":%s,"records":[' "$1" "$(text "$status")" "$(sed 's/.* //' "$work/$1.status")"
  grep '}$' "$work/$1.jsonl" | paste -sd, || true
  printf ']}'
}

write_json() {
  local name comma=""
  printf '{"kit":1,"fake":%s,"date":"%s","gpu":"%s","module":"%s","kernel":"%s","uid":%s,"seconds":%s,' \
    "$([[ $fake == 1 ]] && echo true || echo false)" "$(date -u +%FT%TZ)" "$(text "$gpu")" \
    "$(text "${flavour:-unknown or proprietary}")" "$(uname -r)" "$(id -u)" "$SECONDS"
  printf '"xids_in_dmesg":%s,"parts":{' "$1"
  for name in $PARTS xids; do
    [[ -e $work/$name.status ]] || continue
    printf '%s' "$comma"
    part_json "$name"
    comma=","
  done
  printf '}}\n'
}

if [[ -n $xids_before ]]; then xids=$(($(xids_in_dmesg) - xids_before)); else xids=null; fi
write_json "$xids" >"$out/gpu-kit.json"

say ""
say "GPU kit: ${gpu:-no nvidia-smi}; ${flavour:-module flavour unknown}; figures are p50/p90/p99/max"
failed=0
for name in $PARTS xids; do
  [[ -e $work/$name.status ]] || continue
  say ""
  say "== $name: $(cat "$work/$name.status") s"
  while IFS= read -r row; do say "$row"; done <"$work/$name.rows"
  case $(cat "$work/$name.status") in ok* | skipped*) ;; *) failed=1 ;; esac
done
say ""
say "Xids in dmesg since the start: $xids; $SECONDS s in all; $out/gpu-kit.json"
case $(cat "$work/probe.status" 2>/dev/null) in no-gpu*) say "No GPU here that CUDA can use: nothing was measured." ;; esac
exit "$failed"
