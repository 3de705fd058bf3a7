#!/usr/bin/env bash
# Installs what a build needs and this machine lacks (Debian 12, Ubuntu 24.04, or later).
# As root or with passwordless sudo it installs; otherwise it prints the line to run and exits 1.
# Says nothing when nothing is missing.
set -euo pipefail
PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"

min_cmake=3.22
min_rust=1.85

say() { printf '%s\n' "$*" >&2; }
have() { command -v "$1" > /dev/null 2>&1; }
at_least() { [[ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" == "$1" ]]; }

missing=()
need_command() { have "$1" || missing+=("$2"); }

need_command g++ g++
need_command cmake cmake
need_command ninja ninja-build
need_command make make  # for the C++ source bundled in a crate
need_command ccache ccache
need_command python3 python3

# Header, package. One run of the preprocessor finds all that are missing.
headers=(
  fmt/format.h libfmt-dev
  spdlog/spdlog.h libspdlog-dev
  nlohmann/json.hpp nlohmann-json3-dev
  CLI/CLI.hpp libcli11-dev
  xxhash.h libxxhash-dev
  gtest/gtest.h libgtest-dev
)
probe=""
for ((i = 0; i < ${#headers[@]}; i += 2)); do
  probe+="#if !__has_include(<${headers[i]}>)"$'\n'"${headers[i + 1]}"$'\n'"#endif"$'\n'
done
if have g++; then
  while read -r package; do missing+=("$package"); done \
    < <(g++ -E -P -x c++ -std=c++20 - <<< "$probe" | tr -d ' ' | grep . || true)
else
  for ((i = 1; i < ${#headers[@]}; i += 2)); do missing+=("${headers[i]}"); done
fi

# pip only downloads the small model of the quick start and the tests.
if ! have python3 ||
  ! python3 -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("pip"))'; then
  missing+=(python3-pip)
fi

if ((${#missing[@]})); then
  # cc and the C library's headers come with g++, certificates are what pip and cargo need.
  line="apt-get install -y --no-install-recommends ${missing[*]} libc6-dev ca-certificates"
  if ! have apt-get; then
    say "These are missing, under their Debian names: ${missing[*]}"
    say "Install them with this system's package manager, then run this script again."
    exit 1
  fi
  if [[ "$(id -u)" == 0 ]]; then
    run=(env DEBIAN_FRONTEND=noninteractive)
  elif have sudo && sudo -n true 2> /dev/null; then
    run=(sudo -n env DEBIAN_FRONTEND=noninteractive)
  else
    say "These packages are missing: ${missing[*]}"
    say "Run this line, then run this script again:"
    say "  sudo apt-get update && sudo $line"
    exit 1
  fi
  say "Installing: ${missing[*]}"
  "${run[@]}" apt-get update -q >&2
  # shellcheck disable=SC2086
  "${run[@]}" $line >&2
fi

cmake_version="$(cmake --version | head -n 1)"
if ! at_least "$min_cmake" "${cmake_version##* }"; then
  say "cmake must be $min_cmake or later, got ${cmake_version##* }; see https://cmake.org/download"
  exit 1
fi

if ! have cargo || ! have rustc; then
  say "A Rust toolchain ($min_rust or later) is missing: the tokenizers are Rust crates."
  say "Get it from https://rustup.rs:"
  say "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal"
  say "or, on Debian 13 and Ubuntu 25.04 or later: sudo apt-get install cargo rustc"
  say "Then run this script again."
  exit 1
fi
rust_version="$(rustc --version)"
rust_version="${rust_version#rustc }"
rust_version="${rust_version%% *}"
if ! at_least "$min_rust" "$rust_version"; then
  say "rustc must be $min_rust or later, got $rust_version ($(command -v rustc))."
  say "With rustup: rustup update stable. Without: see https://rustup.rs"
  exit 1
fi
