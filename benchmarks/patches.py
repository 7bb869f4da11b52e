"""Training patches to TFRecord where every answer takes 0.1 s: how near to 40 requests in flight, and at what CPU beside a thread pool."""

import json
import sys
import tempfile
from functools import partial
from typing import Any

from benchmarks.measure import alternating, client_core, in_own_process, median, ratio_of_pairs
from benchmarks.ours import PATCH_COMPRESSION_LEVEL
from benchmarks.scale import scale
from benchmarks.scene import PATCH_IMAGE_SIDE
from benchmarks.serving import Serving, serving

LATENCY_SECONDS = 0.1
IN_FLIGHT = 40
BANDS = 5
ROUNDS = 3
WARM = 40


def main() -> None:
    """Rounds of the thread pool and ours."""
    count = scale().patches
    with serving((BANDS, PATCH_IMAGE_SIDE)) as server:
        server.set()
        run = partial(in_own_process, core=client_core())
        runs = {"threadpool": partial(theirs, server, run, "floats"), "ours": partial(ours, server, run)}
        for each in runs.values():
            each(WARM)
        bytes_instead = theirs(server, run, "bytes", count)
        rounds = alternating({name: partial(each, count) for name, each in runs.items()}, ROUNDS)
    ideal = IN_FLIGHT / LATENCY_SECONDS
    rates = {name: round(count / median(figures, "wall_seconds"), 1) for name, figures in rounds.items()}
    details = {
        **rounds,
        "patches_a_second": rates,
        "ideal": ideal,
        "threadpool_with_bytes": bytes_instead,
        "gzip_level": PATCH_COMPRESSION_LEVEL,
    }
    ratio = ratio_of_pairs(rounds["ours"], rounds["threadpool"], "cpu_seconds")
    results: dict[str, Any] = {
        "patches.rate_over_ideal": {"value": round(rates["ours"] / ideal, 3), "details": details},
        "patches.cpu_vs_threadpool": {
            "value": ratio,
            "details": {"ours_over_threadpool": "CPU seconds, median of pairs"},
        },
    }
    sys.stdout.write(json.dumps(results) + "\n")


def ours(server: Serving, run: Any, count: int) -> dict[str, Any]:
    """The product."""
    server.set(latency_seconds=LATENCY_SECONDS)
    figures = run("benchmarks.ours", "patches", server.url, str(count), "--bands", str(BANDS))
    return {**figures, "most_at_once": server.record()["most_open"]}


def theirs(server: Serving, run: Any, kind: str, count: int) -> dict[str, Any]:
    """The thread pool."""
    server.set(latency_seconds=LATENCY_SECONDS)
    with tempfile.TemporaryDirectory(prefix="bench-patches-") as folder:
        figures = run("benchmarks.threadpool", kind, server.url, str(count), folder)
    return {**figures, "most_at_once": server.record()["most_open"]}


if __name__ == "__main__":
    main()
