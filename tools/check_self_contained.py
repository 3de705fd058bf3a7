#!/usr/bin/env python3
"""The binary needs no shared library but the C library's own, so that it runs on any newer Linux."""

import argparse
import re
import subprocess
import sys

NEEDED = re.compile(r"\(NEEDED\).*\[(.+)\]")
ALLOWED = re.compile(r"lib(c|m|dl|rt|pthread)\.so\.\d+|ld-linux.*\.so\.\d+")


def foreign_libraries(dynamic_section):
    """Libraries beyond the C library in the output of `readelf --dynamic`."""
    return [name for name in NEEDED.findall(dynamic_section) if not ALLOWED.fullmatch(name)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readelf", default="readelf")
    parser.add_argument("binary")
    options = parser.parse_args()
    listing = subprocess.run([options.readelf, "--dynamic", "--wide", options.binary],
                             capture_output=True, text=True, check=True).stdout
    foreign = foreign_libraries(listing)
    if foreign:
        print(f"{options.binary} must be linked statically against {', '.join(foreign)}",
              file=sys.stderr)
    return 1 if foreign else 0


if __name__ == "__main__":
    sys.exit(main())
