#!/usr/bin/env python3
"""benchmarks/results/h100/*.json -> the tables of docs/performance.md, between its markers, and the
plot docs/roofline.svg."""

import argparse
import json
import math
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
PAGE = f"""# Performance

Every figure is a fraction of what the machine allows, measured in the same run: bytes over the read bandwidth of a
kernel that only reads, operations over the rate of cuBLASLt's 8192 x 8192 x 8192 product. The shapes are those of
LLaMA-3.1-8B in bfloat16, the weights random.

`scripts/gpu-bench.sh` measures and writes `benchmarks/results/h100/`; `tools/performance_page.py` writes these tables.

{BEGIN}
{END}
"""


class Target:
    """A row of the first table; `least`: more is better."""

    def __init__(self, what, key, target, goal, form, least=False, share=None):
        self.what, self.key, self.target, self.goal = what, key, target, goal
        self.form, self.least, self.share = form, least, share

    def value(self, summary):
        value = summary
        for key in self.key.split("."):
            value = value.get(key) if value is not None else None
        return value

    def mark(self, value):
        if value is None:
            return "not measured"
        good = (lambda limit: value >= limit) if self.least else (lambda limit: value <= limit)
        return "goal" if good(self.goal) else "target" if good(self.target) else "missed"


def over(numerator):
    """Share of the limit under `numerator` in the summary, for a time."""
    return lambda summary, value: summary[numerator] / value if summary.get(numerator) else None


def of_matrix_rate(summary, tflops):
    return tflops * 1e12 / summary["matrix_rate"] if summary.get("matrix_rate") else None


def percent(value):
    return f"{100 * value:.1f} %"


def unit(digits, name):
    return lambda value: f"{value:.{digits}f} {name}".rstrip()


MS, US, S, TIMES, TFLOPS = unit(2, "ms"), unit(1, "µs"), unit(1, "s"), unit(3, "×"), unit(0, "TFLOP/s")
TARGETS = [
    Target("decode, 1 sequence, context 128 to 1k: share of the time to read all weights", "decode_b1_share",
           0.88, 0.92, percent, least=True,
           share=lambda summary, value: summary.get("decode_b1_share_without_table")),
    Target("decode step, 64 sequences, context 128 to 384", "step_b64_ms", 6.7, 6.2, MS,
           share=over("step_b64_floor_ms")),
    Target("decode step, 256 sequences, the same", "step_b256_ms", 9.6, 9.0, MS,
           share=over("step_b256_floor_ms")),
    Target("time to first token, 128 tokens in", "ttft_128_ms", 7.0, 6.0, MS, share=over("step_b1_floor_ms")),
    Target("time to first token, 2048 tokens in", "ttft_2048_ms", 48.0, 45.0, MS,
           share=over("prefill_2048_bound_ms")),
    Target("GEMM beside cuBLASLt, the least", "gemm_vs_cublaslt_min", 0.97, 1.03, TIMES, least=True),
    Target("linear of 1, 16, 64 rows beside cuBLASLt, the least", "skinny_vs_cublaslt_min", 1.0, 1.0, TIMES,
           least=True),
    Target("prefill attention, 2k", "prefill_attention_tflops.2048", 420, 540, TFLOPS, True, of_matrix_rate),
    Target("prefill attention, 8k", "prefill_attention_tflops.8192", 500, 620, TFLOPS, True, of_matrix_rate),
    Target("prefill attention, 32k", "prefill_attention_tflops.32768", 520, 650, TFLOPS, True, of_matrix_rate),
    Target("decode attention, 64 × 4k: share of read bandwidth", "decode_attention_share", 0.88, 0.92, percent,
           least=True, share=lambda summary, value: value),
    Target("greedy sampling of [1, 128256]", "greedy_1_us", 10, 6, US),
    Target("top-p sampling of [256, 128256]", "top_p_256_us", 150, 100, US),
    Target("engine built, 16 GB, no kernel cached", "build_s", 60, 30, S),
    Target("engine opened to ready", "open_s", 15, 8, S),
]


def target_table(summary):
    lines = ["| what | target | goal | measured | share of the limit | |", "|---|---|---|---|---|---|"]
    for row in TARGETS:
        value = row.value(summary)
        sign = "≥" if row.least else "≤"
        measured = row.form(value) if value is not None else "–"
        share = row.share(summary, value) if row.share and value else None
        lines.append(f"| {row.what} | {sign} {row.form(row.target)} | {row.form(row.goal)} | {measured} | "
                     f"{percent(share) if share else ''} | {row.mark(value)} |")
    return lines


def kernel_table(rows):
    lines = ["| kernel | shape | µs | GB/s | TFLOP/s | share of the bound | × cuBLASLt |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        rate = f"{row['flops'] / row['us'] * 1e-6:.1f}" if row["flops"] else ""
        library = f"{row['library_us'] / row['us']:.2f}" if row["library_us"] else ""
        lines.append(f"| {row['kernel']} | {row['shape'].replace(' x ', ' × ')} | {row['us']:.1f} | "
                     f"{row['bytes'] / row['us'] * 1e-3:.0f} | {rate} | {percent(row['share'])} | {library} |")
    return lines


def tables(summary, kernels, plot):
    ceilings = []
    if summary.get("read_bandwidth"):
        ceilings.append(f"reads {summary['read_bandwidth'] * 1e-12:.2f} TB/s")
    if summary.get("matrix_rate"):
        ceilings.append(f"cuBLASLt multiplies at {summary['matrix_rate'] * 1e-12:.0f} TFLOP/s")
    facts = [summary.get("gpu"), summary.get("driver") and f"driver {summary['driver']}",
             summary.get("commit") and f"commit {summary['commit']}", summary.get("date"), *ceilings]
    lines = [", ".join(filter(None, facts)) + ".", "", *target_table(summary), "",
             "The limit of a decode step is the time to read the cache and all weights but the embedding table, of which a",
             "step reads a few rows; the first line's measured share counts the table too, as its target does."]
    if kernels.get("rows"):
        lines += ["", "## Kernels", "", f"![Roofline]({plot})", "",
                  "Weights, KV cache and large logits come from memory; other inputs fit into the cache, as in a model, so that",
                  "short rows may exceed their bound. Linears are what a program takes: the fastest kernel measured, cuBLASLt's among them.",
                  "", *kernel_table(kernels["rows"])]
    return "\n".join(lines)


def with_tables(page, text):
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(END) < page.index(BEGIN):
        raise ValueError(f"the page must hold {BEGIN} and, behind it, {END}, once each")
    return page[:page.index(BEGIN) + len(BEGIN)] + "\n" + text + "\n" + page[page.index(END):]


class LogAxis:
    """Values on a logarithmic scale -> pixels."""

    def __init__(self, low, high, first, last):
        self.low, self.high, self.first, self.last = low, high, first, last

    def __call__(self, value):
        part = (math.log10(value) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        return self.first + part * (self.last - self.first)

    def ticks(self):
        return [10.0**e for e in range(round(math.log10(self.low)), round(math.log10(self.high)) + 1)]


GROUPS = [  # of dots: the rows' kernel, text, colour
    ("linear", "linear", "#1f6feb"),
    ("attention prefill", "prefill attention", "#d9480f"),
    ("attention decode", "decode attention", "#2b8a3e"),
]


def roofline(kernels, matrix_rate):
    """SVG: TFLOP/s over FLOP per byte, a dot for each kernel that multiplies."""
    bandwidth = kernels["read_bandwidth"]
    rate = max(matrix_rate or 0, kernels["matrix_rate"])
    x = LogAxis(0.1, 1e5, 70, 880)
    y = LogAxis(0.1, 1e3, 470, 30)
    ridge = rate / bandwidth

    def line(x1, y1, x2, y2, style):
        return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>'

    def label(px, py, text, more=""):
        return f'<text x="{px:.1f}" y="{py:.1f}" {more}>{text}</text>'

    grid, strong = 'stroke="#e5e5e5"', 'stroke="#333" stroke-width="2"'
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 530" font-family="sans-serif" font-size="13">',
             '<rect width="900" height="530" fill="#fff"/>']
    for tick in x.ticks():
        parts += [line(x(tick), y.first, x(tick), y.last, grid),
                  label(x(tick), y.first + 18, f"{tick:g}", 'text-anchor="middle"')]
    for tick in y.ticks():
        parts += [line(x.first, y(tick), x.last, y(tick), grid),
                  label(x.first - 8, y(tick) + 4, f"{tick:g}", 'text-anchor="end"')]
    parts += [label(475, 515, "operations per byte", 'text-anchor="middle"'),
              label(20, 250, "TFLOP/s", 'text-anchor="middle" transform="rotate(-90 20 250)"'),
              line(x(x.low), y(x.low * bandwidth * 1e-12), x(ridge), y(rate * 1e-12), strong),
              line(x(ridge), y(rate * 1e-12), x(x.high), y(rate * 1e-12), strong),
              label(x(1) - 10, y(bandwidth * 1e-12) - 14, f"{bandwidth * 1e-12:.2f} TB/s", 'text-anchor="end"'),
              label(x(ridge) + 60, y(rate * 1e-12) - 8, f"{rate * 1e-12:.0f} TFLOP/s")]
    for place, (kernel, text, colour) in enumerate(GROUPS):
        parts += [f'<circle cx="640" cy="{400 + 20 * place}" r="5" fill="{colour}"/>',
                  label(652, 404 + 20 * place, text)]
        for row in kernels["rows"]:
            if row["kernel"] != kernel or not row["flops"]:
                continue
            tflops = row["flops"] / row["us"] * 1e-6
            parts.append(f'<circle cx="{x(row["flops"] / row["bytes"]):.1f}" cy="{y(max(tflops, y.low)):.1f}" r="4" '
                         f'fill="{colour}" fill-opacity="0.7"><title>{row["kernel"]} {row["shape"]}: {tflops:.1f} '
                         f'TFLOP/s, {percent(row["share"])} of its bound</title></circle>')
    return "\n".join([*parts, "</svg>", ""])


def read(path):
    return json.loads(path.read_text()) if path.is_file() else {}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/results/h100")
    parser.add_argument("--page", type=Path, default=ROOT / "docs/performance.md")
    parser.add_argument("--plot", type=Path, default=ROOT / "docs/roofline.svg")
    options = parser.parse_args()
    summary, kernels = read(options.results / "summary.json"), read(options.results / "kernels.json")
    if not summary:
        parser.error(f"{options.results / 'summary.json'} is missing; scripts/gpu-bench.sh writes it")
    page = options.page.read_text() if options.page.is_file() else PAGE
    options.page.write_text(with_tables(page, tables(summary, kernels, options.plot.name)))
    if kernels.get("rows"):
        options.plot.write_text(roofline(kernels, summary.get("matrix_rate")))


if __name__ == "__main__":
    main()
