#!/usr/bin/env bash
# Every CPU test under AddressSanitizer and UndefinedBehaviorSanitizer, or with `tsan` as the
# argument under ThreadSanitizer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
preset="${1:-asan}"

bash scripts/install-dependencies.sh
model="$(bash scripts/fetch-model.sh)"
bash scripts/fetch-cuda.sh > /dev/null || (($? == 2))
cmake --preset "$preset" -DBRAYTON_SMOLLM2="$model"
ninja -C "build/$preset"
# Off: with it gcc 12 misaligns vectors of 64 bytes on the stack (GCC bug 110027).
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_stack_use_after_return=0}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
ctest --test-dir "build/$preset" -L cpu -j 2 --output-on-failure
