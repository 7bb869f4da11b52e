"""Wall seconds of an image to memory where every answer takes 0.3 s: the peers' over ours, the floor's over ours."""

import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import alternating, client_core, in_own_process, median
from benchmarks.pixels_cpu import BANDS, record_requests, told
from benchmarks.scale import scale
from benchmarks.scene import rest_grid
from benchmarks.serving import Serving, serving

LATENCY_SECONDS = 0.3
FLOOR_THREADS = 40
FLOOR_TILE = 1024
"""16 MiB of four bands of float32; masks come on top, as with ours."""


def main() -> None:
    """Everything is read once without latency, so that the server has all answers."""
    size = scale()
    side = size.latency_side
    with serving((BANDS, side)) as server, tempfile.TemporaryDirectory() as folder:
        journal = record_requests(server, side, Path(folder))
        floor_journal = retiled(journal, side, FLOOR_TILE)
        run = partial(in_own_process, core=client_core())
        ours = partial(run, "benchmarks.ours", "memory", server.url, str(side), "--into")
        floor = partial(run, "benchmarks.floor", server.url, str(floor_journal), "--threads", str(FLOOR_THREADS))
        peers = {
            name: partial(run, "benchmarks.peers", name, "default", server.url, str(side)) for name in ("xee", "geedim")
        }
        for each in (floor, *peers.values()):
            each()
        server.set(latency_seconds=LATENCY_SECONDS)
        pairs = alternating({"floor": floor, "ours": ours}, size.pairs)
        others = {name: counted(server, peer) for name, peer in peers.items()}
    our_wall = median(pairs["ours"], "wall_seconds")
    gigabytes = side**2 * BANDS * 4 / 1e9
    details = {name: told(figures, gigabytes) for name, figures in pairs.items()}
    efficiency = median(pairs["floor"], "wall_seconds") / our_wall
    results: dict[str, Any] = {"pixels.latency_efficiency": {"value": round(efficiency, 3), "details": details}}
    for name, figures in others.items():
        value = round(figures["wall_seconds"] / our_wall, 2)
        details = {name: told([figures], gigabytes), "ours": told(pairs["ours"], gigabytes)}
        results[f"pixels.wall_vs_{name}_latency"] = {"value": value, "details": details}
    sys.stdout.write(json.dumps(results) + "\n")


def counted(server: Serving, run: Any) -> dict[str, Any]:
    """A run with what the server saw of it; none of its answers had to be computed."""
    server.set(latency_seconds=LATENCY_SECONDS)
    figures = run()
    record = server.record()
    if record["computed"]:
        raise RuntimeError(f"{record['computed']} answers were not made before the run that was measured")
    return {**figures, "requests": record["requests"], "most_at_once": record["most_open"]}


def retiled(journal: Path, side: int, tile: int) -> Path:
    """The same image by requests of another size."""
    first = json.loads(journal.read_text(encoding="utf-8"))[0]
    requests = [
        {
            "path": first["path"],
            "body": {
                **first["body"],
                "grid": rest_grid(side, row=row, col=col, rows=min(tile, side - row), cols=min(tile, side - col)),
            },
        }
        for row in range(0, side, tile)
        for col in range(0, side, tile)
    ]
    path = journal.with_name(f"tiles-{tile}.json")
    path.write_text(json.dumps(requests), encoding="utf-8")
    return path


if __name__ == "__main__":
    main()
