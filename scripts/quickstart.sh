#!/usr/bin/env bash
# From a clone to an answer: installs what is missing, builds (for the GPU too, where there is one),
# fetches a small instruct model and answers the prompt. A second run does only the last.
#   scripts/quickstart.sh "What is the capital of France?"
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"

if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then
  printf 'usage: scripts/quickstart.sh ["prompt"]\n'
  exit 0
fi
prompt="${1:-What is the capital of France?}"

bash scripts/install-dependencies.sh
# Who has no GPU needs no CUDA.
cuda=""
if [[ -e /dev/nvidiactl || -e /dev/dxg ]] && ! cuda="$(bash scripts/fetch-cuda.sh)"; then
  printf 'NVRTC could not be fetched: without the CUDA toolkit, the build is for the CPU only\n' >&2
fi
# A folder that scripts/test.sh configured stays as it is: nothing needs building twice.
if [[ ! -f build/release/build.ninja ]] ||
  { [[ -n "$cuda" ]] && grep -q '^BRAYTON_CUDA_FOUND:INTERNAL=OFF' build/release/CMakeCache.txt; }; then
  cmake --preset release >&2
fi
# ninja says nothing on stdout that the answer could be mixed with.
if ! ninja -C build/release -n brayton | grep -q 'no work to do'; then
  ninja -C build/release brayton >&2
fi
model="$(bash scripts/fetch-model.sh)"
exec build/release/bin/brayton run "$model" --chat --prompt "$prompt"
