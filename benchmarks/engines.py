"""Engines beside threads: what more workers bring, and what an engine costs.

400 requests of 1 MiB, 0.3 s for each answer, two in flight for each worker, no quota. Of each wall time that
of an empty job is taken off, which has one tile for each worker, answered at once: the engine's start and end, and its workers' imports.
"""

import json
import sys
from typing import Any

from benchmarks.engine_jobs import SIDE
from benchmarks.measure import in_own_process
from benchmarks.scale import scale
from benchmarks.serving import Serving, serving

ENGINES = ("dask", "spark", "beam")
LATENCY_SECONDS = 0.3
IN_FLIGHT = 2
ACROSS = 20
WORKERS = (1, 2, 4)


def main() -> None:
    """All engines."""
    with serving((1, SIDE)) as server:
        results = scaling(server)
    sys.stdout.write(json.dumps(results) + "\n")


def scaling(server: Serving) -> dict[str, Any]:
    """What more workers bring, and what an engine costs over threads at the same number of requests at once."""
    down = scale().engine_requests // ACROSS
    in_own_process("benchmarks.engine_jobs", "threads", "1", server.url, "1", "1")
    threads = {count: net(server, "threads", count, down) for count in WORKERS}
    results = {}
    for engine in ENGINES:
        runs = {count: net(server, engine, count, down) for count in WORKERS}
        details = {"runs": runs, "threads": threads}
        for count in WORKERS[1:]:
            value = runs[1]["net_seconds"] / runs[count]["net_seconds"]
            results[f"engines.{engine}_speedup_{count}"] = {"value": round(value, 3), "details": details}
        over = max(runs[count]["net_seconds"] / threads[count]["net_seconds"] for count in WORKERS)
        results[f"engines.{engine}_over_threads"] = {"value": round(over, 3), "details": details}
    shown = {count: net(server, "beam_processes", count, down) for count in WORKERS[:2]}
    results["engines.beam_over_threads"]["details"] = {
        **results["engines.beam_over_threads"]["details"],
        "processes": shown,
    }
    return results


def net(server: Serving, engine: str, workers: int, down: int) -> dict[str, Any]:
    """A job's wall time, an empty one's, and the difference."""
    server.set()
    # Threads are one worker, with as many requests at once as all workers of an engine.
    in_flight = IN_FLIGHT * workers if engine == "threads" else IN_FLIGHT
    run = ("benchmarks.engine_jobs", engine, str(workers), server.url)
    empty = in_own_process(*run, str(workers), "1", "--in-flight", str(in_flight), "--batch-units", "1")
    server.set(latency_seconds=LATENCY_SECONDS)
    whole = in_own_process(*run, str(ACROSS), str(down), "--in-flight", str(in_flight))
    record = server.record()
    return {
        "net_seconds": round(whole["wall_seconds"] - empty["wall_seconds"], 3),
        "start_seconds": empty["wall_seconds"],
        "wall_seconds": whole["wall_seconds"],
        "ideal_seconds": ACROSS * down * LATENCY_SECONDS / (IN_FLIGHT * workers),
        "most_open": record["most_open"],
        "answers": record["answers"],
        "bytes": record["sent"],
    }


if __name__ == "__main__":
    main()
