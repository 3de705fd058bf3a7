#!/usr/bin/env python3
"""Lines per file: fails above the limit, lists what should be questioned, prints the median."""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

SUFFIXES = (".cc", ".h", ".cu", ".cuh", ".rs", ".py", ".sh", ".cmake")
LIMIT = 800
QUESTIONED = 500
EXAMPLE_LIMIT = 60  # an example, up to and without this
COMMAND_LIMIT = 150  # a command's main, the same


def source_files(root):
    """Tracked and new files; everything on disk where git is missing."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"],
            cwd=root, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        listed = [p.relative_to(root).as_posix() for p in Path(root).rglob("*") if p.is_file()]
    for name in sorted(set(listed)):
        if not name.startswith("build/") and name.endswith(SUFFIXES) and (Path(root) / name).is_file():
            yield name


def limit_of(name):
    """The lines that a file must stay below."""
    if name.startswith("examples/"):
        return EXAMPLE_LIMIT
    if name.startswith("src/cli/") and not name.endswith("_test.cc"):
        return COMMAND_LIMIT
    return LIMIT + 1


def check(root):
    """(faults, names to question, median) of the tree at `root`."""
    lines = {}
    for name in source_files(root):
        lines[name] = len((Path(root) / name).read_bytes().splitlines())
    faults = [f"{name}: {count} lines, must be below {limit_of(name)}: split it by what it does"
              for name, count in lines.items() if count >= limit_of(name)]
    questioned = [f"{name}: {count} lines" for name, count in lines.items()
                  if QUESTIONED < count <= LIMIT]
    return faults, questioned, statistics.median(lines.values()) if lines else 0, len(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default=Path(__file__).resolve().parent.parent)
    faults, questioned, median, files = check(parser.parse_args().root)
    for fault in faults:
        print(fault, file=sys.stderr)
    for line in questioned:
        print(f"above {QUESTIONED}: {line}")
    print(f"check_sizes: {files} files, median {median:g} lines, {len(faults)} too long")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
