"""The checks of tools/ report each kind of breach, and nothing in a tree that has none."""

import tempfile
import unittest
from pathlib import Path

import check_isa_symbols
import check_layers
import check_self_contained
import check_sizes

RULES = """
[layers.brayton]
rank = 0
may = []
[layers.core]
rank = 0
may = ["brayton"]
[layers.ops]
rank = 1
may = ["core", "brayton"]
[layers."backends/cpu"]
rank = 3
may = ["ops", "core"]
[layers."executor nouns"]
rank = 4
files = ["executor/sequence.h"]
may = ["core"]
[layers."executor/scheduler"]
rank = 4
may = ["executor nouns", "core"]
[layers.executor]
rank = 4
may = ["executor/scheduler", "executor nouns", "backends/cpu", "core"]
[layers.testing]
rank = 6
may = ["ops", "core"]
[outside]
tests = ["*"]
examples = ["brayton"]
[doors]
"backends/cpu" = ["backends/cpu/cpu_backend.h"]
[third_party]
"fmt/" = ["core"]
"gtest/" = ["testing"]
[system]
headers = ["sys/*"]
"""

CLEAN = {
    "src/layers.toml": RULES,
    "include/brayton/dtype.h": "#include <cstdint>\n",
    "src/core/json.h": '#include <fmt/format.h>\n#include "brayton/dtype.h"\n',
    "src/core/file.cc": "#include <sys/mman.h>\n",
    "src/ops/add.h": '#include "core/json.h"\n',
    "src/ops/add_test.cc": '#include <gtest/gtest.h>\n#include "testing/close.h"\n',
    "src/testing/close.h": '#include "ops/add.h"\n',
    "src/backends/cpu/cpu_backend.h": '#include "ops/add.h"\n',
    "src/backends/cpu/gemm.h": "",
    "src/executor/sequence.h": '#include "core/json.h"\n',
    "src/executor/scheduler/scheduler.h": '#include "executor/sequence.h"\n',
    "src/executor/executor.h": '#include "executor/scheduler/scheduler.h"\n'
                               '#include "backends/cpu/cpu_backend.h"\n',
    "src/CMakeLists.txt": "brayton_add_layer(ops DEPS core Threads::Threads)\n",
    "examples/run.cc": '#include "brayton/dtype.h"\n',
    "tests/golden.h": "",
    "tests/end.cc": '#include "tests/golden.h"\n'
                    '#include "executor/executor.h"\n#include "backends/cpu/cpu_backend.h"\n',
}


def write_tree(folder, changes):
    for name, text in {**CLEAN, **changes}.items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class CheckLayersTest(unittest.TestCase):
    def faults(self, changes):
        with tempfile.TemporaryDirectory() as folder:
            write_tree(folder, changes)
            return check_layers.check(folder)[0]

    def test_a_clean_tree_has_no_breach(self):
        self.assertEqual(self.faults({}), [])

    def test_each_breach_is_named_with_file_and_line(self):
        cases = [
            ("src/ops/mul.cc", '\n#include "executor/sequence.h"\n',
             'src/ops/mul.cc:2 includes "executor/sequence.h": '
             "ops (rank 1) may not include executor nouns"),
            ("src/ops/mul.cc", '#include "testing/close.h"\n', "ops (rank 1) may not include testing"),
            ("src/ops/mul.cc", "#include <fmt/format.h>\n", "only core may include fmt/..."),
            ("src/ops/mul.cc", "#include <gtest/gtest.h>\n", "only testing may include gtest/..."),
            ("src/ops/mul.cc", "#include <boost/asio.hpp>\n", "unknown header"),
            ("src/ops/mul.cc", "#include <core/json.h>\n", "our own headers are included as"),
            ("src/ops/mul.cc", '#include "missing.h"\n', "no such file under src/ or include/"),
            ("src/ops/mul_test.cc", '#include "tests/golden.h"\n', "only tests/ may"),
            ("src/odd/odd.h", '#include "core/json.h"\n', "src/odd/odd.h: its folder has no row"),
            ("src/executor/executor.h", '#include "backends/cpu/gemm.h"\n',
             "of backends/cpu only backends/cpu/cpu_backend.h may be included"),
            ("examples/run.cc", '#include "core/json.h"\n', "examples/ may not include core"),
            ("src/CMakeLists.txt", "brayton_add_layer(ops DEPS executor)",
             "src/CMakeLists.txt: ops may not depend on executor"),
            ("src/ops/env.cc", 'auto v = std::getenv("V");\n', "src/ops/env.cc:1 reads the environment"),
        ]
        for path, text, expected in cases:
            with self.subTest(expected=expected):
                faults = self.faults({path: text})
                self.assertEqual(len(faults), 1, faults)
                self.assertIn(expected, faults[0])

    def test_files_that_include_each_other_are_a_cycle(self):
        faults = self.faults({"src/ops/a.h": '#include "ops/b.h"\n', "src/ops/b.h": '#include "ops/a.h"\n'})
        self.assertEqual(faults, ["include cycle: src/ops/a.h -> src/ops/b.h -> src/ops/a.h"])

    def test_a_two_way_pair_of_sub_folders_is_reported_with_its_witnesses(self):
        faults = self.faults({"src/ops/one.h": '#include "ops/deep/two.h"\n', "src/ops/deep/two.h": "",
                              "src/ops/deep/three.h": '#include "ops/add.h"\n'})
        self.assertEqual(len(faults), 1, faults)
        self.assertIn("folders include each other: src/ops -> src/ops/deep -> src/ops", faults[0])
        self.assertIn("src/ops/deep/three.h includes src/ops/add.h", faults[0])

    def test_a_layer_may_not_name_a_higher_one(self):
        faults = self.faults({"src/layers.toml": RULES.replace('may = ["core", "brayton"]',
                                                               'may = ["core", "brayton", "executor"]')})
        self.assertEqual(faults, ["src/layers.toml: ops (rank 1) may not name executor (rank 4)"])


class CheckSizesTest(unittest.TestCase):
    def check(self, files):
        with tempfile.TemporaryDirectory() as folder:
            for name, lines in files.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("x\n" * lines)
            return check_sizes.check(folder)

    def test_limits_are_exact(self):
        at_limit = {"src/a.cc": 800, "examples/a.cc": 59, "src/cli/main.cc": 149, "notes.md": 2000}
        faults, questioned, median, files = self.check(at_limit)
        self.assertEqual((faults, median, files), ([], 149, 3))
        self.assertEqual(questioned, ["src/a.cc: 800 lines"])
        for name, lines in at_limit.items():
            if name != "notes.md":
                with self.subTest(name=name):
                    faults = self.check({name: lines + 1})[0]
                    self.assertEqual(len(faults), 1)
                    self.assertIn(f"{name}: {lines + 1} lines, must be below", faults[0])

    def test_an_empty_tree_passes(self):
        self.assertEqual(self.check({}), ([], [], 0, 0))


class CheckIsaSymbolsTest(unittest.TestCase):
    def test_only_the_levels_own_code_may_be_shared(self):
        listing = """\
0000000000000000 T brayton::cpu::avx2::linear(brayton::cpu::LinearArgs const&)
0000000000000000 W void brayton::ThreadPool::run<brayton::cpu::avx2::Task>(long)
0000000000000010 t brayton::ThreadPool::threads() const
0000000000000000 V vtable for brayton::Stream
                 U memcpy
0000000000000000 W std::vector<int>::_M_realloc_insert(int&&)
0000000000000000 T brayton::cpu::avx512::linear()
0000000000000000 t _GLOBAL__sub_I_linear.cc
"""
        faults = list(check_isa_symbols.faults_of(listing, "avx2"))
        self.assertEqual(faults, [
            "code that other levels could be linked to: "
            "std::vector<int>::_M_realloc_insert(int&&)",
            "code that other levels could be linked to: brayton::cpu::avx512::linear()",
            "a static initialiser, which runs on every CPU: _GLOBAL__sub_I_linear.cc"])


class CheckSelfContainedTest(unittest.TestCase):
    def test_only_the_c_library_may_be_shared(self):
        listing = "".join(f" 0x0000000000000001 (NEEDED)  Shared library: [{name}]\n" for name in (
            "libm.so.6", "libc.so.6", "ld-linux-x86-64.so.2", "libstdc++.so.6", "libfmt.so.9"))
        self.assertEqual(check_self_contained.foreign_libraries(listing),
                         ["libstdc++.so.6", "libfmt.so.9"])


if __name__ == "__main__":
    unittest.main()
