"""What scripts/gpu-bench.sh measured becomes the figures of the summary, and those the page."""

import json
import tempfile
import unittest
import xml.dom.minidom
from pathlib import Path

import bench_summary
import make_dummy_checkpoint
import performance_page


def row(kernel, shape, us, flops=0.0, library_us=0.0, share=0.5, bytes=1e6):
    return {"kernel": kernel, "shape": shape, "us": us, "bytes": bytes, "flops": flops,
            "library_us": library_us, "bound_us": us * share, "share": share}


KERNELS = {
    "device": "cuda: NVIDIA H100 80GB HBM3 (sm_90a)", "read_bandwidth": 3e12, "matrix_rate": 8e14,
    "rows": [
        row("linear", "8192 x 8192 x 8192", 1500.0, 2 * 8192.0**3, 1400.0),
        row("linear", "4096 x 28672 x 4096 gated", 1000.0, 1e12, 980.0),
        row("linear", "2048 x 6144 x 4096", 100.0, 1e11, 10.0),  # in no figure
        row("linear", "64 x 6144 x 4096", 20.0, 3e9, 19.0, bytes=5e7),
        row("linear", "16 x 8192 x 14336", 80.0, 3e9, 88.0, bytes=2.4e8),
        row("attention prefill", "1 x 2048 of 2048", 50.0, 2.5e10),
        row("attention decode", "64 x 1 of 4096", 380.0, 1.7e10, share=0.93),
        row("sample greedy", "1 x 128256", 8.0),
    ],
}
LATENCY = {
    "decode_b1": {"fraction_of_floor": 0.9, "ttft_median_ms": 6.5, "floor_ms": 5.0,
                  "read_bandwidth_gb_s": 3000.0},
    "decode_b64": {"step_ms": {"p50": 6.6, "p99": 7}, "floor_ms": 5.7, "read_bandwidth_gb_s": 3000.0},
    "open": {"timings": {"load_s": 9.0}, "wall_s": 10.0},
}


class Summary(unittest.TestCase):
    def setUp(self):
        self.summary = bench_summary.summarize(KERNELS, LATENCY, driver="580", commit="abc", date="today")

    def test_figures_come_from_their_rows(self):
        s = self.summary
        self.assertAlmostEqual(s["gemm_vs_cublaslt_min"], 1400 / 1500)
        self.assertAlmostEqual(s["skinny_vs_cublaslt_min"], 19 / 20)
        self.assertAlmostEqual(s["skinny_bandwidth_min"], 5e7 / 20e-6)  # the other's weights are larger
        self.assertAlmostEqual(s["prefill_attention_tflops"]["2048"], 500.0)
        self.assertAlmostEqual(s["matrix_rate"], 2 * 8192**3 / 1400e-6)
        self.assertEqual((s["decode_attention_share"], s["greedy_1_us"]), (0.93, 8.0))
        self.assertEqual((s["decode_b1_share"], s["step_b64_ms"], s["open_s"]), (0.9, 6.6, 9.0))
        self.assertAlmostEqual(s["step_b1_floor_ms"], 5.0 - 0.350224, places=5)  # without the table
        self.assertAlmostEqual(s["decode_b1_share_without_table"], 0.9 * s["step_b1_floor_ms"] / 5.0)
        self.assertEqual((s["gpu"], s["driver"]), ("NVIDIA H100 80GB HBM3", "580"))

    def test_what_was_not_measured_is_null(self):
        self.assertIsNone(self.summary["step_b256_ms"])
        self.assertIsNone(self.summary["build_s"])
        self.assertIsNone(self.summary["prefill_attention_tflops"]["8192"])
        nothing = bench_summary.summarize({}, {}, driver="", commit="", date="")
        self.assertIsNone(nothing["gemm_vs_cublaslt_min"])
        self.assertIn("not measured", performance_page.tables(nothing, {}, "plot.svg"))

    def test_page(self):
        text = performance_page.tables(self.summary, KERNELS, "plot.svg")
        self.assertIn("| ≤ 6.70 ms | 6.20 ms | 6.60 ms | 81.1 % | target |", text)
        self.assertIn("| linear | 64 × 6144 × 4096 | 20.0 | 2500 | 150.0 | 50.0 % | 0.95 |", text)
        page = performance_page.with_tables(performance_page.PAGE, text)
        self.assertEqual(performance_page.with_tables(page, text), page)
        with self.assertRaises(ValueError):
            performance_page.with_tables("no markers", text)

    def test_plot_has_a_dot_for_each_kernel_that_multiplies(self):
        plot = performance_page.roofline(KERNELS, self.summary["matrix_rate"])
        xml.dom.minidom.parseString(plot)
        self.assertEqual(plot.count("<title>"), 7)


class Checkpoint(unittest.TestCase):
    CONFIG = {"model_type": "llama", "hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 4,
              "num_key_value_heads": 2, "num_hidden_layers": 1, "vocab_size": 32}

    def test_files_are_as_long_as_their_headers_say(self):
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder, "shapes.json")
            config.write_text(json.dumps(self.CONFIG))
            total = make_dummy_checkpoint.make_checkpoint(config, Path(folder, "model"))
            index = json.loads(Path(folder, "model/model.safetensors.index.json").read_text())
            names, (name,) = set(index["weight_map"]), set(index["weight_map"].values())
            data = Path(folder, "model", name).read_bytes()
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8:8 + length])
        self.assertEqual(names, set(header) - {"__metadata__"})
        self.assertEqual(len(data), 8 + length + total)
        self.assertEqual(header["model.layers.0.self_attn.k_proj.weight"]["shape"], [4, 8])

    def test_shards_keep_to_their_limit(self):
        tensors = list(make_dummy_checkpoint.shapes(self.CONFIG))
        shards = make_dummy_checkpoint.shards_of(tensors, 600)
        self.assertEqual([tensor for shard in shards for tensor in shard], tensors)
        for shard in shards:
            size = sum(make_dummy_checkpoint.tensor_bytes(shape) for _, shape in shard)
            self.assertTrue(size <= 600 or len(shard) == 1)


if __name__ == "__main__":
    unittest.main()
