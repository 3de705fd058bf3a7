#!/usr/bin/env python3
"""Holds every #include of the tree to src/layers.toml; exits 1 with a line for each breach."""

import argparse
import fnmatch
import re
import sys
import tomllib
from pathlib import Path

SUFFIXES = {".h", ".cc", ".cuh", ".cu", ".inc"}
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')
GETENV = re.compile(r"\b(?:secure_)?getenv\s*\(")
ADD_LAYER = re.compile(r"brayton_add_layer\(\s*(\w+)([^)]*)\)")


class Tree:
    """The files of a checkout, and the layer each belongs to."""

    def __init__(self, root, rules):
        self.root = Path(root)
        self.layers = rules["layers"]
        self.doors = rules.get("doors", {})
        self.outside = rules.get("outside", {})
        self.third_party = rules.get("third_party", {})
        self.system = rules.get("system", {}).get("headers", [])
        self.listed = {f: name for name, row in self.layers.items() for f in row.get("files", [])}
        self.include_roots = rules.get("include_roots", {})
        self.folders = [name for name, row in self.layers.items() if "files" not in row]

    def sources(self):
        for top in ("src", "include", *self.outside):
            for path in sorted((self.root / top).rglob("*")):
                if path.suffix in SUFFIXES and path.is_file():
                    yield path.relative_to(self.root).as_posix()

    def layer_of_header(self, header):
        """`header` as it is included: "core/json.h"."""
        if header in self.listed:
            return self.listed[header]
        fitting = [name for name in self.folders if header.startswith(name + "/")]
        return max(fitting, key=len, default=None)

    def layer_of_file(self, path):
        top, _, rest = path.partition("/")
        return self.layer_of_header(rest) if top in ("src", "include") else None

    def resolve(self, header):
        """The path of an included header, or None."""
        for top in ("src", "include"):
            if (self.root / top / header).is_file():
                return f"{top}/{header}"
        inside = header.split("/")[0] in self.outside and (self.root / header).is_file()
        return header if inside else None


def is_test(path):
    name = Path(path).name
    return (path.startswith("tests/") or name.endswith("_test.cc") or "/testing/" in path
            or name.startswith("gpu_test"))


def includes(tree, path):
    """Yields (line number, header in quotes or None, header in angle brackets or None)."""
    text = (tree.root / path).read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        if match := INCLUDE.match(line):
            root = tree.include_roots.get(Path(path).suffix)
            yield number, f"{root}/{match[1]}" if root and match[1] else match[1], match[2]


def check_rules(tree):
    """The table itself: known names, and no layer above its user."""
    for name, row in tree.layers.items():
        for other in row["may"] + row.get("tests_may", []):
            if other not in tree.layers:
                yield f"src/layers.toml: layer {name} names {other}, which has no row"
        for other in row["may"]:
            if other in tree.layers and tree.layers[other]["rank"] > row["rank"]:
                yield (f"src/layers.toml: {name} (rank {row['rank']}) may not name "
                       f"{other} (rank {tree.layers[other]['rank']})")


def check_quoted(tree, path, number, header):
    where = f'{path}:{number} includes "{header}"'
    found = tree.resolve(header)
    if found is None:
        return f"{where}: no such file under src/ or include/ (paths start there)"
    if found.split("/")[0] in tree.outside:
        top = found.split("/")[0]
        return None if path.startswith(top + "/") else f"{where}: only {top}/ may"
    target = tree.layer_of_header(header)
    if target is None:
        return f"{where}: its folder has no row in src/layers.toml"
    top = path.split("/")[0]
    if top in tree.outside:
        allowed = tree.outside[top]
        return None if "*" in allowed or target in allowed else f"{where}: {top}/ may not include {target}"
    layer = tree.layer_of_file(path)
    if layer is None:
        return f"{path}: its folder has no row in src/layers.toml"
    if target == layer:
        return None
    row = tree.layers[layer]
    allowed = set(row["may"])
    if is_test(path):
        allowed |= {"testing", *row.get("tests_may", [])}
    if target not in allowed:
        return f"{where}: {layer} (rank {row['rank']}) may not include {target}"
    # Files inside the folder of a door see all of it.
    doors = tree.doors.get(target)
    if doors and header not in doors and not layer.startswith(target):
        return f"{where}: of {target} only {' '.join(doors)} may be included"
    return None


def check_angled(tree, path, number, header):
    where = f"{path}:{number} includes <{header}>"
    layer = tree.layer_of_file(path)
    for prefix, owners in tree.third_party.items():
        if header.startswith(prefix):
            if layer in owners or (prefix == "gtest/" and is_test(path)):
                return None
            return f"{where}: only {', '.join(owners)} may include {prefix}..."
    if tree.resolve(header):
        return f'{where}: our own headers are included as "{header}"'
    standard = "." not in header and "/" not in header
    if standard or any(fnmatch.fnmatch(header, pattern) for pattern in tree.system):
        return None
    return f"{where}: unknown header; add it to third_party or system in src/layers.toml"


def find_cycle(edges):
    """A cycle of the directed graph {node: {successors}} as a list, or None."""
    state = {}
    for start in sorted(edges):
        stack = [(start, iter(sorted(edges.get(start, ()))))] if start not in state else []
        if stack:
            state[start] = "open"
        while stack:
            node, successors = stack[-1]
            for successor in successors:
                if state.get(successor) == "open":
                    nodes = [n for n, _ in stack]
                    return nodes[nodes.index(successor):] + [successor]
                if successor not in state:
                    state[successor] = "open"
                    stack.append((successor, iter(sorted(edges.get(successor, ())))))
                    break
            else:
                state[node] = "done"
                stack.pop()
    return None


def check_cycles(tree, file_edges):
    if cycle := find_cycle(file_edges):
        yield "include cycle: " + " -> ".join(cycle)
    folder_edges, witness = {}, {}
    for path, targets in file_edges.items():
        if is_test(path) or path.split("/")[0] in tree.outside:
            continue
        for target in targets:
            # A layer made of listed files is a folder of its own; so is every sub-folder.
            a, b = (tree.listed.get(p.partition("/")[2], str(Path(p).parent)) for p in (path, target))
            if a != b:
                folder_edges.setdefault(a, set()).add(b)
                witness.setdefault((a, b), f"{path} includes {target}")
    if cycle := find_cycle(folder_edges):
        steps = "; ".join(witness[pair] for pair in zip(cycle, cycle[1:]))
        yield f"folders include each other: {' -> '.join(cycle)} ({steps})"


def check_cmake(tree):
    """DEPS of brayton_add_layer name only layers that the table allows."""
    for lists in sorted((tree.root / "src").rglob("CMakeLists.txt")):
        for name, arguments in ADD_LAYER.findall(lists.read_text(encoding="utf-8")):
            folder = re.search(r"\bFOLDER\s+(\S+)", arguments)
            row = tree.layers.get(folder[1] if folder else name)
            where = lists.relative_to(tree.root).as_posix()
            if row is None:
                yield f"{where}: layer {name} has no row in src/layers.toml"
                continue
            deps = arguments.partition("DEPS")[2].split()
            allowed = {layer.replace("/", "_") for layer in row["may"]}
            known = {layer.replace("/", "_") for layer in tree.layers}
            for dep in deps:
                dep = dep.removeprefix("brayton_")
                if dep in known and dep not in allowed:
                    yield f"{where}: {name} may not depend on {dep}"


def check(root):
    """All breaches of the tree at `root`, as printable lines."""
    with open(Path(root) / "src/layers.toml", "rb") as file:
        tree = Tree(root, tomllib.load(file))
    faults = [*check_rules(tree), *check_cmake(tree)]
    file_edges = {}
    for path in tree.sources():
        edges = file_edges.setdefault(path, set())
        for number, quoted, angled in includes(tree, path):
            fault = (check_quoted(tree, path, number, quoted) if quoted
                     else check_angled(tree, path, number, angled))
            if fault:
                faults.append(fault)
            if quoted and (target := tree.resolve(quoted)):
                edges.add(target)
        if path.startswith("src/") and not path.startswith("src/cli/") and not is_test(path):
            text = (tree.root / path).read_text(encoding="utf-8", errors="replace")
            for number, line in enumerate(text.splitlines(), 1):
                if GETENV.search(line.partition("//")[0]):
                    faults.append(f"{path}:{number} reads the environment: only cli/ may")
    faults += check_cycles(tree, file_edges)
    return faults, len(file_edges)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default=Path(__file__).resolve().parent.parent)
    faults, files = check(parser.parse_args().root)
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"check_layers: {files} files, {len(faults)} breaches")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
