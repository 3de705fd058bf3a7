#!/usr/bin/env bash
# Fetches what building the CUDA backend and compiling its kernels needs, once, into the user's
# cache, and prints the folder: include/ (cuda.h, nvrtc.h and others) and lib/ (NVRTC). No GPU,
# driver or toolkit is needed. The files lie in NVIDIA's wheels on PyPI (92 MB); nothing of them is
# run or installed. Checksums are verified; damaged files are fetched anew.
# Exits with 2 where there are no such wheels (not an x86-64 Linux).
set -euo pipefail

packages=(
  nvidia-cuda-nvrtc==13.0.88 ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575
  nvidia-cuda-runtime==13.0.96 7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
)

say() { printf '%s\n' "$*" >&2; }
sha256() { sha256sum "$1" | cut -d ' ' -f 1; }

if [[ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]]; then
  say "NVRTC is fetched for x86-64 Linux only, this is $(uname -s) on $(uname -m);" \
    "install the CUDA toolkit (12.8 or later) and set CUDA_HOME"
  exit 2
fi

cache="${XDG_CACHE_HOME:-$HOME/.cache}/brayton"
folder="$cache/cuda-13.0"

if [[ -f "$folder/SHA256SUMS" ]]; then
  if (cd "$folder" && sha256sum --check --quiet --strict SHA256SUMS) > /dev/null 2>&1; then
    printf '%s\n' "$folder"
    exit 0
  fi
  say "$folder is damaged; fetching it again"
fi

mkdir -p "$cache"
work="$(mktemp -d "$cache/fetch.XXXXXX")"
trap 'rm -rf "$work"' EXIT

# Downloads and unpacks one package into $work/cuda; says what was wrong otherwise.
fetch() {
  local package="$1" expected="$2" wheel
  rm -rf "$work/wheel"
  if ! python3 -m pip download --disable-pip-version-check --no-cache-dir --no-deps -q \
    --only-binary=:all: --dest "$work/wheel" "$package" >&2; then
    fault="pip could not download $package"
    return 1
  fi
  wheel="$(find "$work/wheel" -name '*.whl' | head -n 1)"
  if [[ "$(sha256 "$wheel")" != "$expected" ]]; then
    fault="$(basename "$wheel") has SHA-256 $(sha256 "$wheel"), expected $expected"
    return 1
  fi
  python3 - "$wheel" "$work/cuda" << 'PYTHON'
import pathlib, shutil, sys, zipfile
wheel, out = sys.argv[1:]
root = "nvidia/cu13/"
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        path = pathlib.PurePosixPath(name.removeprefix(root))
        wanted = path.parts[0] == "include" or path.name.startswith("libnvrtc")
        if not name.startswith(root) or name.endswith("/") or ".." in path.parts or not wanted:
            continue
        if ".alt." in path.name:
            continue
        target = pathlib.Path(out, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(name) as source, open(target, "wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
PYTHON
}

say "Fetching NVRTC and the CUDA headers (92 MB) into $folder"
fault=""
for ((i = 0; i < ${#packages[@]}; i += 2)); do
  if ! fetch "${packages[i]}" "${packages[i + 1]}"; then
    say "$fault; trying once more"
    if ! fetch "${packages[i]}" "${packages[i + 1]}"; then
      say "error: $fault. Check the network or the package index (pip config list), then run this again."
      exit 1
    fi
  fi
done
# What the next run checks: the libraries and the headers that the build includes.
(cd "$work/cuda" && sha256sum include/cuda.h include/nvrtc.h lib/libnvrtc* > SHA256SUMS)
rm -rf "$folder"
mv "$work/cuda" "$folder"
printf '%s\n' "$folder"
