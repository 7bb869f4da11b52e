"""Useful requests a second under a quota of 40 at once and 100 a second, and after it was lowered without a word.

The job's tiles are counted by the server: so many that the quota lets through in 30 s, then, from the very next request on, a quota of
20 at once and 50 a second, and as many tiles as that lets through in 30 s. The job must end with every tile in its place.
"""

import json
import sys
from typing import Any

from benchmarks.measure import client_core, in_own_process
from benchmarks.ours import QUOTA_ACROSS
from benchmarks.scale import scale
from benchmarks.scene import FIELD
from benchmarks.serving import Serving, serving

LATENCIES = (0.2, 0.5)
AT_ONCE, A_SECOND = 40, 100
LOWERED_AT_ONCE, LOWERED_A_SECOND = 20, 50


def main() -> None:
    """A job for each latency; the worse one counts."""
    seconds = scale().quota_seconds
    with serving((1, FIELD * 4)) as server:
        server.set()
        in_own_process("benchmarks.ours", "quota", server.url, str(QUOTA_ACROSS))
        jobs = {str(latency): job(server, latency, seconds) for latency in LATENCIES}
    results = {
        name: {"value": min(each[phase]["over_limit"] for each in jobs.values()), "details": by_phase(jobs, phase)}
        for name, phase in (("quota.rate_over_limit", "told"), ("quota.rate_over_hidden_limit", "hidden"))
    }
    sys.stdout.write(json.dumps(results) + "\n")


def by_phase(jobs: dict[str, dict[str, Any]], phase: str) -> dict[str, Any]:
    """The figures of one phase by latency."""
    return {latency: {**each[phase], "job": each["job"]} for latency, each in jobs.items()}


def job(server: Serving, latency: float, seconds: float) -> dict[str, Any]:
    """One job through both quotas."""
    told_limit = min(A_SECOND, AT_ONCE / latency)
    hidden_limit = min(LOWERED_A_SECOND, LOWERED_AT_ONCE / latency)
    first = round(told_limit * seconds)
    tiles = -(-(first + round(hidden_limit * seconds)) // QUOTA_ACROSS) * QUOTA_ACROSS
    server.set(
        latency_seconds=latency, max_open=AT_ONCE, starts_per_second=A_SECOND, lowered_after=first,
        lowered_open=LOWERED_AT_ONCE, lowered_starts=LOWERED_A_SECOND,
    )  # fmt: skip
    figures = in_own_process("benchmarks.ours", "quota", server.url, str(tiles), core=client_core())
    record = server.record()
    told = phase(first, record["lowered_at"] - record["first"], told_limit, record["refused_before"])
    rest = record["answers"] - first
    hidden = phase(
        rest, record["last"] - record["lowered_at"], hidden_limit, record["refused"] - record["refused_before"]
    )
    return {"told": told, "hidden": hidden, "job": {**figures, "tiles": tiles, "answers": record["answers"]}}


def phase(answers: int, seconds: float, limit: float, refused: int) -> dict[str, Any]:
    """What went through, beside what could have."""
    rate = answers / seconds
    return {
        "requests_a_second": round(rate, 2), "limit": limit, "over_limit": round(rate / limit, 3),
        "seconds": round(seconds, 2), "refused_with_429": refused,
    }  # fmt: skip


if __name__ == "__main__":
    main()
