#!/usr/bin/env python3
"""Objects compiled for one instruction set define no code that the linker could give to others.

An inline function of a shared header that is not inlined becomes a weak symbol; the linker keeps
one copy of it for the whole program, and if that copy was compiled with AVX-512, older CPUs crash
far from any kernel. So: every function such an object defines for others has the level's namespace
in its name, and nothing runs before main().
"""

import argparse
import subprocess
import sys

NAMESPACE = "brayton::cpu::{}::"
STATIC_INITIALIZER = "_GLOBAL__sub_I_"
CODE_FOR_OTHERS = "TWi"  # nm's letters: global, weak, indirect; data does not depend on the level


def faults_of(listing, level):
    """Breaches among the lines of `nm --defined-only --demangle`."""
    for line in listing.splitlines():
        # "0000000000000000 W std::vector<int>::~vector()"; undefined symbols are not listed.
        fields = line.split(maxsplit=2)
        if len(fields) < 3:
            continue
        _, kind, name = fields
        if STATIC_INITIALIZER in name or name.startswith("__static_initialization"):
            yield f"a static initialiser, which runs on every CPU: {name}"
        elif kind in CODE_FOR_OTHERS and NAMESPACE.format(level) not in name:
            yield f"code that other levels could be linked to: {name}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nm", default="nm")
    parser.add_argument("--level", required=True, help="the namespace below brayton::cpu")
    parser.add_argument("objects", nargs="+")
    options = parser.parse_args()
    count = 0
    for path in options.objects:
        listing = subprocess.run(
            [options.nm, "--defined-only", "--demangle", path],
            capture_output=True, text=True, check=True).stdout
        for fault in faults_of(listing, options.level):
            print(f"{path}: {fault}", file=sys.stderr)
            count += 1
    print(f"check_isa_symbols: {options.level}: {len(options.objects)} objects, {count} breaches")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
