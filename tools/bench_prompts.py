#!/usr/bin/env python3
"""Measures the prompt analysis: time by length of prompt, load and memory. One thread, distinct prompts, no memo.

Quantiles are of single readings, all signals of a rule that reads everything: task, domain, difficulty, language,
tokens, and the vector that own categories are compared by. On a machine that others use, look at
the CPU time. With --check it fails past the bounds of the design.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import statistics
import sys
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
PROMPTS = 1200
LENGTHS = (100, 1_000, 2_000, 100_000)
BOUNDS_MS = {1_000: 0.20, 100_000: 0.30}
MOST_MB, MOST_LOAD_MS = 25.0, 200.0


def main() -> int:
    """Measure and print; with --check the exit code says whether the bounds hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail past the bounds")
    check = parser.parse_args().check
    from prompt_training import seeds

    import modelway_gateway.prompt_model as loading

    before = _resident_mb()
    started = time.perf_counter()
    analyser = loading.load_analyser()
    load_ms = (time.perf_counter() - started) * 1000
    gc.collect()
    memory = _resident_mb() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"load {load_ms:.0f} ms; resident {memory:.1f} MB more than before, peak of the process {peak:.0f} MB")
    late = memory > MOST_MB or load_ms > MOST_LOAD_MS

    drawn = [
        each.text
        for each in seeds.draw_tasks(per_task=100, passages=seeds.passages(), sentences=["a sentence"], seed=9)
    ]
    drawn = list(dict.fromkeys(drawn))
    fill = " ".join(seeds.passages())
    for length in LENGTHS:
        texts = []
        for at in range(PROMPTS):
            own = drawn[at % len(drawn)]
            begin = at * 37 % len(fill)
            rest = (fill[begin:] + " " + fill) * (length // len(fill) + 1)
            texts.append(
                f"{own}\n{rest}"[:length] if at % 2 else f"{rest[: max(length - len(own) - 1, 0)]}\n{own}"[-length:]
            )
        took, busy = [], []
        gc.disable()
        for text in texts:
            begin_cpu_ns = time.thread_time_ns()
            begin_ns = time.perf_counter_ns()
            reading = analyser.read(text)
            _ = reading.task, reading.domain, reading.difficulty, reading.language, reading.tokens, reading.vector
            took.append((time.perf_counter_ns() - begin_ns) / 1e6)
            busy.append((time.thread_time_ns() - begin_cpu_ns) / 1e6)
        gc.enable()
        cuts = statistics.quantiles(took, n=100)
        print(
            f"{length:>7} characters, {len(set(texts))} distinct: p50 {cuts[49]:.3f} ms, p90 {cuts[89]:.3f} ms, "
            f"p99 {cuts[98]:.3f} ms, least {min(took):.3f} ms; CPU time p50 {statistics.median(busy):.3f} ms"
        )
        late |= cuts[49] > BOUNDS_MS.get(length, float("inf"))
    if check and late:
        print("past the bounds of the design")
    return 1 if check and late else 0


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


if __name__ == "__main__":
    raise SystemExit(main())
