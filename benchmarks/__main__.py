"""``python -m benchmarks [CASE ...]``: run the cases one after the other, and write what they found to build/bench/results.json."""

import json
import subprocess
import sys
import time
from typing import Any

from benchmarks.engines import ENGINES
from benchmarks.measure import ROOT
from benchmarks.results import RESULTS, judged, machine, merged, summary
from benchmarks.scale import scale

CASES: dict[str, tuple[str, ...]] = {
    "median_composite": ("median_composite",),
    "fixed_payload": ("fixed_payload",),
    "floor_check": ("floor.over_shared",),
    "pixels_cpu": (
        "pixels.cpu_s_per_gb_over_floor",
        "pixels.cpu_vs_xee",
        "pixels.cpu_vs_xee_best",
        "pixels.cpu_vs_geedim",
        "pixels.cpu_vs_geedim_best",
    ),
    "pixels_latency": (
        "pixels.latency_efficiency",
        "pixels.wall_vs_xee_latency",
        "pixels.wall_vs_geedim_latency",
    ),
    "pixels_memory": ("pixels.peak_rss_mb", "pixels.rss_growth"),
    "pixels_disk": ("pixels.zarr_cpu_over_parts", "pixels.geotiff_cpu_over_parts"),
    "patches": ("patches.rate_over_ideal", "patches.cpu_vs_threadpool"),
    "series": ("series.wall_vs_per_image",),
    "deferred": (
        "deferred.requests_per_poll",
        "deferred.requests_over_pages",
        "deferred.seconds_to_event",
        "deferred.triggerer_cpu_share",
    ),
    "quota": ("quota.rate_over_limit", "quota.rate_over_hidden_limit"),
    "engines": (
        *(f"engines.{engine}_{what}" for engine in ENGINES for what in ("speedup_2", "speedup_4", "over_threads")),
    ),
    "image_functions": ("functions.cpu_over_numpy",),
    "engine_quota": ("engines.shared_quota_rate", "engines.shared_quota_refusals"),
}
"""Modules, and the keys of what each finds."""


def main(names: list[str]) -> int:
    """Run the named cases, all without names; tells 1 when one of them broke, whatever the others found."""
    unknown = set(names) - set(CASES)
    if unknown:
        sys.stderr.write(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}\n")
        return 2
    found: dict[str, Any] = {}
    broken = []
    for name in names or CASES:
        begin = time.monotonic()
        try:
            results = run(name)
        except subprocess.CalledProcessError as problem:
            broken.append(name)
            results = {key: {"value": None, "holds": False, "details": {"broke": str(problem)}} for key in CASES[name]}
        found |= judged(results)
        sys.stdout.write(f"{name} ({time.monotonic() - begin:.0f} s)\n{summary(judged(results))}")
        sys.stdout.flush()
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    everything = found if not names else merged(found)
    content = {"machine": machine(), "scale": scale().name, "results": everything}
    RESULTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 1 if broken else 0


def run(name: str) -> dict[str, Any]:
    """What one case found, by key."""
    done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    results = json.loads(done.stdout)
    # The emulator's own two cases tell figures and their limits without a key.
    found = results if set(results) == set(CASES[name]) else {name: results}
    if set(found) != set(CASES[name]):
        raise RuntimeError(f"{name} told {sorted(results)} instead of {sorted(CASES[name])}")
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
