#!/usr/bin/env bash
# Installs what is missing, builds everything and runs every test that needs no GPU. CUDA kernels are
# compiled as well, but for machines that fetch-cuda.sh has no NVRTC for.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"

bash scripts/install-dependencies.sh
model="$(bash scripts/fetch-model.sh)"
bash scripts/fetch-cuda.sh > /dev/null || (($? == 2))
cmake --preset ci -DBRAYTON_SMOLLM2="$model"
ninja -C build/release
python3 tools/check_layers.py
python3 tools/check_sizes.py
ctest --test-dir build/release -L 'cpu|gate' -j 2 --output-on-failure
