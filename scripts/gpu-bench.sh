#!/usr/bin/env bash
# Speed on this machine's GPU, everything in one go and about five minutes: each kernel, decoding and
# first tokens of LLaMA-3.1-8B's shapes with random weights, and building and opening its engine. A
# program folder brought along will do: no network, no compiler. Needs python3.
#   scripts/gpu-bench.sh [build/release/bin] [benchmarks/results/h100]
# writes summary.json, kernels.json and latency.json there; tools/performance_page.py shows them.
# TMPDIR: where 40 GB are free for the engine's build, which is left out otherwise.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin="${1:-build/release/bin}"
out="${2:-benchmarks/results/h100}"
config=tests/data/configs/llama3-8b.json
cache="${XDG_CACHE_HOME:-$HOME/.cache}"
export LD_LIBRARY_PATH="${CUDA_HOME:-/usr/local/cuda}/lib64:$cache/brayton/cuda-13.0/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"

brayton="$bin/brayton"
if [[ ! -x "$brayton" ]]; then
  printf '%s is missing: build it (scripts/quickstart.sh), or give the folder it is in\n' "$brayton" >&2
  exit 2
fi
mkdir -p "$out"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

failed=0
# step NAME SECONDS COMMAND...: what it prints becomes $work/NAME.json, its wall time $work/NAME.s.
step() {
  local name="$1" limit="$2" begin end rc=0
  shift 2
  begin="$(date +%s.%N)"
  timeout "$limit" "$@" > "$work/$name.json" 2> "$work/$name.log" || rc=$?
  end="$(date +%s.%N)"
  python3 -c "print($end - $begin)" > "$work/$name.s"
  if ((rc == 0)); then
    printf '%-12s %6.1f s\n' "$name" "$(< "$work/$name.s")" >&2
  else
    printf '%-12s failed with exit code %s (limit %s s):\n' "$name" "$rc" "$limit" >&2
    tail -n 5 "$work/$name.log" >&2
    rm "$work/$name.json"
    failed=1
  fi
}
latency() {
  local name="$1"
  shift
  step "$name" 120 "$brayton" bench latency "$config" --load-format dummy --device cuda --json "$@"
}

step kernels 240 "$brayton" bench kernels --device cuda --json
latency decode_b1 --batch 1 --input 128 --output 896 --repeats 10
latency decode_b64 --batch 64 --input 128 --output 256
latency decode_b256 --batch 256 --input 128 --output 256
latency ttft_2048 --batch 1 --input 2048 --output 2 --repeats 10

# A checkpoint of 16 GB and its engine, with caches that hold no kernel. Each command gets its own.
gigabytes=$(($(df -Pk "$work" | awk 'NR == 2 { print $4 }') / 1000000))
memory=$(($(awk '/^MemAvailable/ { print $2 }' /proc/meminfo) / 1000000))
if ((gigabytes < 40 || memory < 40)); then
  printf 'build and open are left out: they need 40 GB of disk and of memory, %s has %s GB, memory %s GB\n' \
    "$work" "$gigabytes" "$memory" >&2
else
  for use in build open; do
    mkdir -p "$work/cache-$use/brayton"
    if [[ -d "$cache/brayton/cuda-13.0" ]]; then
      ln -s "$cache/brayton/cuda-13.0" "$work/cache-$use/brayton/"
    fi
  done
  step checkpoint 120 python3 tools/make_dummy_checkpoint.py "$config" "$work/model"
  timeout 60 sync "$work/model"/* || true  # or the build would wait for these pages
  step build 180 env XDG_CACHE_HOME="$work/cache-build" \
    "$brayton" build "$work/model" -o "$work/model.engine" --device cuda --json
  step open 120 env XDG_CACHE_HOME="$work/cache-open" "$brayton" run "$work/model.engine" \
    --device cuda --prompt-ids 1 --max-tokens 1 --ignore-eos --json
fi

if ! driver="$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2> /dev/null | head -n 1)"; then
  driver="$(sed -nE '1s/.* ([0-9]+\.[0-9.]+) .*/\1/p' /proc/driver/nvidia/version 2> /dev/null || true)"
fi
commit="${BRAYTON_COMMIT:-$(git describe --always --dirty --exclude '*' --abbrev=12 2> /dev/null || true)}"
python3 tools/bench_summary.py "$work" "$out" --driver "$driver" --commit "$commit"
exit $failed
