#!/usr/bin/env python3
"""The parts that scripts/gpu-bench.sh measured -> summary.json, kernels.json and latency.json.
What was not measured is null."""

import argparse
import datetime
import json
import re
import sys
from pathlib import Path

LATENCIES = ("decode_b1", "decode_b64", "decode_b256", "ttft_2048")
GEMMS = re.compile(r"8192 x 8192 x 8192$|4096 x (6144 x 4096|4096 x 4096|28672 x 4096 gated|4096 x 14336)$")
SKINNY = re.compile(r"(1|16|64) x ")
PREFILL_LENGTHS = (2048, 8192, 32768)
MIB = 1 << 20

# LLaMA-3.1-8B: multiply-adds of a token in its layers, operations of causal attention over 2048 of
# them, and the rate at which that is counted as done.
LAYER_WEIGHTS = 32 * 4096 * (6144 + 4096 + 28672 + 14336)
ATTENTION_2048 = 32 * 4 * 32 * 128 * (2048 * 2049 / 2)
ATTENTION_RATE = 500e12
# `brayton bench latency` counts every weight as read. Of the embedding table a step reads a few rows
# only: floors here are without it.
TABLE_BYTES = 2 * 128256 * 4096


def find(rows, kernel, shape):
    for row in rows:
        if row["kernel"] == kernel and row["shape"] == shape:
            return row
    return None


def least(values):
    return min(values, default=None)


def ratio_to_library(rows):
    return least(row["library_us"] / row["us"] for row in rows if row["library_us"] > 0)


def library_rate(rows):
    """FLOP/s of cuBLASLt's 8192 x 8192 x 8192."""
    row = find(rows, "linear", "8192 x 8192 x 8192")
    return row["flops"] / row["library_us"] * 1e6 if row and row["library_us"] > 0 else None


def weight_bytes(row):
    """Of a linear of shape "64 x 6144 x 4096 gated"."""
    _, n, k = (int(size) for size in re.findall(r"\d+", row["shape"])[:3])
    return 2 * n * k


def kernel_figures(kernels):
    rows = kernels.get("rows", [])
    linears = [row for row in rows if row["kernel"] == "linear"]
    skinny = [row for row in linears if SKINNY.match(row["shape"])]
    streaming = [row for row in skinny if 16 * MIB <= weight_bytes(row) <= 64 * MIB]

    def value(kernel, shape, of):
        row = find(rows, kernel, shape)
        return of(row) if row else None

    return {
        "gemm_vs_cublaslt_min": ratio_to_library(r for r in linears if GEMMS.match(r["shape"])),
        "skinny_vs_cublaslt_min": ratio_to_library(skinny),
        "prefill_attention_tflops": {
            str(n): value("attention prefill", f"1 x {n} of {n}", lambda r: r["flops"] / r["us"] * 1e-6)
            for n in PREFILL_LENGTHS},
        "decode_attention_share": value("attention decode", "64 x 1 of 4096", lambda r: r["share"]),
        "greedy_1_us": value("sample greedy", "1 x 128256", lambda r: r["us"]),
        "top_p_256_us": value("sample top_p", "256 x 128256", lambda r: r["us"]),
    }, {
        "read_bandwidth": kernels.get("read_bandwidth"),
        "matrix_rate": library_rate(rows),
        "skinny_bandwidth_min": least(r["bytes"] / r["us"] * 1e6 for r in streaming),
    }


def prefill_bound_ms(rate):
    """Of 2048 tokens: the layers' products at `rate`, attention at its own."""
    if not rate:
        return None
    return 1e3 * (2 * 2048 * LAYER_WEIGHTS / rate + ATTENTION_2048 / ATTENTION_RATE)


def floor_ms(part):
    """The least time of a decode step: the weights but for the table, and the cache."""
    if not part or not part.get("read_bandwidth_gb_s"):
        return None
    return part["floor_ms"] - TABLE_BYTES / part["read_bandwidth_gb_s"] * 1e-6


def strict_share(part):
    floor = floor_ms(part)
    return part["fraction_of_floor"] * floor / part["floor_ms"] if floor else None


def summarize(kernels, latency, **machine):
    def of(part, *keys):
        value = latency.get(part)
        for key in keys:
            value = value.get(key) if value is not None else None
        return value

    figures, ceilings = kernel_figures(kernels)
    device = kernels.get("device") or of("decode_b1", "device") or ""
    gpu = re.sub(r"^cuda: | \(\w+\)$", "", device)
    return {
        "decode_b1_share": of("decode_b1", "fraction_of_floor"),
        "step_b64_ms": of("decode_b64", "step_ms", "p50"),
        "step_b256_ms": of("decode_b256", "step_ms", "p50"),
        "ttft_128_ms": of("decode_b1", "ttft_median_ms"),
        "ttft_2048_ms": of("ttft_2048", "ttft_median_ms"),
        **figures,
        "build_s": of("build", "wall_s"),
        "open_s": of("open", "timings", "load_s"),
        "gpu": gpu,
        **machine,
        **ceilings,
        "decode_b1_share_without_table": strict_share(latency.get("decode_b1")),
        "step_b1_floor_ms": floor_ms(latency.get("decode_b1")),
        "step_b64_floor_ms": floor_ms(latency.get("decode_b64")),
        "step_b256_floor_ms": floor_ms(latency.get("decode_b256")),
        "prefill_2048_bound_ms": prefill_bound_ms(ceilings["matrix_rate"]),
    }


def read_part(folder, name):
    """What the command printed, with its wall time; None where it failed or did not run."""
    path = folder / f"{name}.json"
    if not path.is_file():
        return None
    part = json.loads(path.read_text())
    part["wall_s"] = float((folder / f"{name}.s").read_text())
    return part


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--driver", default="")
    parser.add_argument("--commit", default="")
    options = parser.parse_args()
    kernels = read_part(options.parts, "kernels") or {}
    latency = {name: part for name in (*LATENCIES, "build", "open")
               if (part := read_part(options.parts, name))}
    summary = summarize(kernels, latency, driver=options.driver, commit=options.commit,
                        date=datetime.date.today().isoformat())
    options.out.mkdir(parents=True, exist_ok=True)
    for name, content in (("summary", summary), ("kernels", kernels), ("latency", latency)):
        (options.out / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    json.dump(summary, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
