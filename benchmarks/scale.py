"""How large the benchmarks are: ``BENCH_SCALE=small`` is a quick look at everything, its ratios are no results."""

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Sizes and repetitions."""

    name: str
    side: int
    """Pixels along a side of the image that is read to memory."""
    disk_side: int
    """Likewise of the image that is written with its parts measured."""
    large_side: int
    """Likewise of the image that memory is compared by; the smaller one has half of it."""
    latency_side: int
    pairs: int
    """Alternating pairs of our run and the floor's."""
    peer_rounds: int
    patches: int
    dates: int
    quota_seconds: float
    engine_requests: int
    """Of the job that engines do with one, two and four workers; a multiple of 20."""
    quota_requests: int
    """Of the job of eight workers; a multiple of 600."""
    function_side: int
    """Pixels along a side of the arrays that image functions are compared on."""
    deferred: int
    """Tasks that wait in one triggerer."""


FULL = Scale(
    name="full", side=10_000, disk_side=10_000, large_side=20_000, latency_side=10_000, pairs=5, peer_rounds=3,
    patches=5_000, dates=137, quota_seconds=30.0, engine_requests=400, quota_requests=6_000, function_side=2_048, deferred=1_000,
)  # fmt: skip
SMALL = Scale(
    name="small", side=3_072, disk_side=2_560, large_side=4_096, latency_side=1_536, pairs=3, peer_rounds=1,
    patches=400, dates=20, quota_seconds=4.0, engine_requests=80, quota_requests=1_200, function_side=512, deferred=100,
)  # fmt: skip


def scale() -> Scale:
    """The one that ``BENCH_SCALE`` names; the full one without."""
    name = os.environ.get("BENCH_SCALE", FULL.name)
    known = {each.name: each for each in (FULL, SMALL)}
    if name not in known:
        raise SystemExit(f"BENCH_SCALE must be one of {', '.join(known)}, got {name!r}")
    return known[name]
