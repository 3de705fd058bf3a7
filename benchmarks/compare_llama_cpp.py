#!/usr/bin/env python3
"""Times Brayton beside llama.cpp on one machine: prompt and decode speed of one sequence.

The two programs run in turn, so that whatever else the machine does hits both; the figure is the
median of the ratios of neighbouring runs. Builds and downloads nothing: give it the programs.

  benchmarks/compare_llama_cpp.py --brayton build/release/bin/brayton \\
      --llama-bench ~/llama.cpp/build/bin/llama-bench --model SmolLM2-135M-Instruct.Q4_1.gguf
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys

PHASES = ("prompt", "decode")
TIMEOUT_S = 1800


class RunFailed(Exception):
    pass


def run_json(command):
    """What `command` prints on stdout, as JSON."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise RunFailed(f"{command[0]}: {fault}") from fault
    if done.returncode != 0:
        raise RunFailed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    try:
        return json.loads(done.stdout)
    except ValueError as fault:
        raise RunFailed(f"{' '.join(command)} printed no JSON: {fault}") from fault


def time_brayton(options):
    """{phase: tokens per second} of one run."""
    result = run_json([
        options.brayton, "bench", "latency", options.model, "--device", "cpu", "--batch", "1",
        "--input", str(options.prompt), "--output", str(options.decode),
        "--threads", str(options.threads), "--json"])
    return {"prompt": options.prompt / (result["ttft_ms"] / 1e3), "decode": result["decode_tok_s"]}


def time_llama_cpp(options):
    rows = run_json([
        options.llama_bench, "-m", options.model, "-p", str(options.prompt), "-n",
        str(options.decode), "-t", str(options.threads), "-r", "1", "-o", "json"])
    speeds = {}
    for row in rows:
        speeds["decode" if row["n_gen"] else "prompt"] = row["avg_ts"]
    if set(speeds) != set(PHASES):
        raise RunFailed(f"llama-bench gave {sorted(speeds)}, expected {sorted(PHASES)}")
    return speeds


@contextlib.contextmanager
def busy_core(wanted):
    """Another process that never lets go of one of our cores, while `wanted`."""
    if not wanted:
        yield None
        return
    core = max(os.sched_getaffinity(0))
    burner = subprocess.Popen(
        [sys.executable, "-c", f"import os; os.sched_setaffinity(0, [{core}])\nwhile True: pass"])
    try:
        yield core
    finally:
        burner.kill()
        burner.wait()


def series(options, busy, report):
    """{"brayton": {phase: [speeds]}, "llama_cpp": ...} of alternating runs."""
    timers = {"brayton": time_brayton, "llama_cpp": time_llama_cpp}
    speeds = {name: {phase: [] for phase in PHASES} for name in timers}
    with busy_core(busy):
        for run in range(options.runs):
            # Who goes first changes, so that neither always inherits the other's heat.
            for name in sorted(timers, reverse=run % 2 == 1):
                measured = timers[name](options)
                for phase in PHASES:
                    speeds[name][phase].append(measured[phase])
                report(f"run {run + 1}/{options.runs}{' (one core busy)' if busy else ''}: {name:9} "
                       + ", ".join(f"{phase} {measured[phase]:.1f} tok/s" for phase in PHASES))
    return speeds


def summarise(speeds):
    """Medians, and the median, least and greatest of the pairwise ratios, by phase."""
    summary = {}
    for phase in PHASES:
        ours, theirs = speeds["brayton"][phase], speeds["llama_cpp"][phase]
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        summary[phase] = {
            "brayton": statistics.median(ours), "llama_cpp": statistics.median(theirs),
            "ratio": statistics.median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios)}
    return summary


def cpu_name():
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def table(result):
    lines = ["| tok/s | Brayton | llama.cpp | ratio (least to greatest) |", "|---|---|---|---|"]
    for state in ("quiet", "busy"):
        for phase, row in result.get(state, {}).items():
            name = f"{phase}, one core busy" if state == "busy" else phase
            lines.append(f"| {name} | {row['brayton']:.1f} | {row['llama_cpp']:.1f} | {row['ratio']:.2f} "
                         f"({row['ratio_min']:.2f} to {row['ratio_max']:.2f}) |")
    for phase, row in result.get("busy_share_of_quiet", {}).items():
        lines.append(f"| {phase}, busy / quiet | {row['brayton']:.0%} | {row['llama_cpp']:.0%} | |")
    return "\n".join(lines)


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brayton", default="build/release/bin/brayton")
    parser.add_argument("--llama-bench", required=True)
    parser.add_argument("--model", required=True, help="a GGUF file that both can read")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=512, help="prompt tokens (512)")
    parser.add_argument("--decode", type=int, default=128, help="generated tokens (128)")
    parser.add_argument("--busy", action="store_true",
                        help="a second series while another process keeps one core busy")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, no table")
    options = parser.parse_args()
    for name in ("threads", "runs", "prompt", "decode"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    return options


def main():
    options = parse_arguments()
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    if load > 0.3 * cores:
        print(f"warning: the load average is {load:.1f}; trust only the ratios", file=sys.stderr)

    def report(line):
        print(line, file=sys.stderr, flush=True)

    result = {
        "cpu": cpu_name(), "cores": cores, "threads": options.threads, "prompt_tokens": options.prompt,
        "decode_tokens": options.decode, "runs": options.runs,
        "model": os.path.basename(options.model), "load_average": load}
    try:
        quiet = series(options, False, report)
        result["quiet"] = summarise(quiet)
        if options.busy:
            busy = series(options, True, report)
            result["busy"] = summarise(busy)
            result["busy_share_of_quiet"] = {
                phase: {name: result["busy"][phase][name] / result["quiet"][phase][name]
                        for name in ("brayton", "llama_cpp")} for phase in PHASES}
    except RunFailed as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        print(f"{result['model']} on {result['cpu']}, {cores} cores, {options.threads} threads, "
              f"{options.prompt} + {options.decode} tokens, medians of {options.runs} alternating runs\n")
        print(table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
