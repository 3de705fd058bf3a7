#!/usr/bin/env bash
# The tests that need a GPU, from build/release or the folder of programs given: kernels against their
# references, then models against golden answers, each with the kernels of this GPU and again with
# those of every GPU since Ampere. `sanitize` as the second argument: the kernels' tests under
# compute-sanitizer instead.
#   scripts/gpu-test.sh [build/release/bin] [sanitize]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin="${1:-build/release/bin}"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/brayton"
export BRAYTON_TEST_DATA="${BRAYTON_TEST_DATA:-$PWD/tests/data}"
export BRAYTON_SMOLLM2="${BRAYTON_SMOLLM2:-$cache/SmolLM2-135M-Instruct.Q4_1.gguf}"
export BRAYTON_TEST_CACHE="${BRAYTON_TEST_CACHE:-$cache/kernels}"
export BRAYTON_TEST_LIBRARIES="${BRAYTON_TEST_LIBRARIES:-${CUDA_HOME:-/usr/local/cuda}/lib64:$cache/cuda-13.0/lib}"

export LD_LIBRARY_PATH="${BRAYTON_TEST_LIBRARIES}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"

if [[ "${2:-}" == sanitize ]]; then
  for tool in memcheck racecheck synccheck; do
    compute-sanitizer --tool "$tool" --error-exitcode 9 "$bin/brayton_cuda_gpu_tests" \
      --gtest_filter="${GTEST_FILTER:-*}" --gtest_brief=1
  done
  exit
fi
filter=()
if [[ ! -f "$BRAYTON_SMOLLM2" ]]; then
  printf '%s is missing: its tests are left out\n' "$BRAYTON_SMOLLM2"
  filter=(--gtest_filter=-*SmolLM2*)
fi
failed=0
for portable in "" 1; do
  if [[ -n "$portable" ]]; then export BRAYTON_TEST_PORTABLE=1; fi
  "$bin/brayton_cuda_gpu_tests" --gtest_brief=1 || failed=1
  "$bin/cuda_test" --gtest_brief=1 "${filter[@]}" || failed=1
done
exit $failed
