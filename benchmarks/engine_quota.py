"""Eight workers of one engine and the quota that they share: 40 requests at once and 100 a second, 6,000 of 64 KiB.

The rate counts from when the last worker has begun until the first one has nothing left to begin.
"""

import json
import sys
from typing import Any

from benchmarks.engine_jobs import SIDE, SMALL_TILE
from benchmarks.measure import in_own_process
from benchmarks.scale import scale
from benchmarks.scene import position
from benchmarks.serving import Serving, serving

LATENCY_SECONDS = 0.3
SHARING = 8
AT_ONCE, A_SECOND = 40, 100
ACROSS = 75


def main() -> None:
    """One job."""
    with serving((1, SIDE)) as server:
        results = quota(server)
    sys.stdout.write(json.dumps(results) + "\n")


def quota(server: Serving) -> dict[str, Any]:
    """Eight workers of Dask that share one quota."""
    down = scale().quota_requests // ACROSS
    each = ACROSS * down // SHARING
    size = ("--tile", str(SMALL_TILE))
    # Fewer tiles would be one answer.
    server.set()
    in_own_process("benchmarks.engine_jobs", "threads", "1", server.url, str(ACROSS), "12", *size)
    server.set(latency_seconds=LATENCY_SECONDS, max_open=AT_ONCE, starts_per_second=A_SECOND, journal=True)
    told = in_own_process(
        "benchmarks.engine_jobs", "dask", str(SHARING), server.url, str(ACROSS), str(down), *size,
        "--requests-per-second", str(A_SECOND), "--batch-units", str(each),
    )  # fmt: skip
    record = server.record()
    starts = starts_by_worker(server.journal(), each)
    begin, end = max(times[0] for times in starts.values()), min(times[-1] for times in starts.values())
    within = sum(begin <= time < end for times in starts.values() for time in times)
    rate = within / (end - begin)
    details = {
        "requests_a_second": round(rate, 2), "seconds": round(end - begin, 2), "workers": len(starts), "refused_with_429": record["refused"], "refused_for_open": record["refused_open"],
        "most_open": record["most_open"], "answers": record["answers"], "job": told,
    }  # fmt: skip
    return {
        "engines.shared_quota_rate": {"value": round(rate / A_SECOND, 3), "details": details},
        "engines.shared_quota_refusals": {"value": record["refused"], "details": details},
    }


def starts_by_worker(journal: list[dict[str, Any]], each: int) -> dict[int, list[float]]:
    """When each worker's requests began: a worker does one piece, whose tiles are neighbours."""
    found: dict[int, list[float]] = {}
    for request in journal:
        row, col = position(request["body"]["grid"])
        tile = row // SMALL_TILE * ACROSS + col // SMALL_TILE
        found.setdefault(tile // each, []).append(request["seconds"])
    return {worker: sorted(times) for worker, times in found.items()}


if __name__ == "__main__":
    main()
