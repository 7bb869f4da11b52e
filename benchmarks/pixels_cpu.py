"""CPU seconds of an image to memory: ours over the floor's, and the peers' over ours."""

import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import alternating, client_core, in_own_process, median, ratio_of_pairs
from benchmarks.scale import scale
from benchmarks.serving import Serving, serving

BANDS = 4
PEERS = {
    "xee": ("xee", "default"),
    "xee_best": ("xee", "best"),
    "geedim": ("geedim", "default"),
    "geedim_best": ("geedim", "best"),
}


def main() -> None:
    """Pairs of the floor and ours; then rounds of ours and each peer."""
    size = scale()
    gigabytes = size.side**2 * BANDS * 4 / 1e9
    with serving((BANDS, size.side)) as server, tempfile.TemporaryDirectory() as folder:
        journal = record_requests(server, size.side, Path(folder))
        run = partial(in_own_process, core=client_core())
        ours = partial(run, "benchmarks.ours", "memory", server.url, str(size.side))
        floor = partial(run, "benchmarks.floor", server.url, str(journal))
        server.set()
        pairs = alternating({"floor": floor, "ours": partial(ours, "--into")}, size.pairs)
        variants = {"floor_in_eight_places": floor("--keep-places", "8"), "floor_in_fresh_memory": floor("--fresh")}
        others: dict[str, Any] = {
            name: partial(run, "benchmarks.peers", *settings, server.url, str(size.side))
            for name, settings in PEERS.items()
        }
        rounds = alternating(
            {**others, "ours": ours, "ours_into_given_memory": partial(ours, "--into")}, size.peer_rounds
        )
    results = {
        "pixels.cpu_s_per_gb_over_floor": {
            "value": ratio_of_pairs(pairs["ours"], pairs["floor"], "cpu_seconds"),
            "details": {
                **{name: told(figures, gigabytes) for name, figures in pairs.items()},
                **{name: told([figures], gigabytes) for name, figures in variants.items()},
            },
        }
    }
    for name in PEERS:
        results[f"pixels.cpu_vs_{name}"] = {
            "value": ratio_of_pairs(rounds[name], rounds["ours"], "cpu_seconds"),
            "details": {each: told(rounds[each], gigabytes) for each in (name, "ours", "ours_into_given_memory")},
        }
    sys.stdout.write(json.dumps(results) + "\n")


def record_requests(server: Serving, side: int, folder: Path, bands: int = BANDS) -> Path:
    """Have ours read the image once, which also has the server make what it answers; its requests, in a file for the floor."""
    server.set(journal=True)
    in_own_process("benchmarks.ours", "memory", server.url, str(side), "--bands", str(bands), core=client_core())
    journal = folder / f"requests-{bands}x{side}.json"
    journal.write_text(json.dumps(server.journal()), encoding="utf-8")
    return journal


def told(figures: list[dict[str, Any]], gigabytes: float) -> dict[str, Any]:
    """Runs as details of a result: CPU seconds for each GB of pixels (masks not counted), the runs themselves."""
    return {
        "cpu_s_per_gb": round(median(figures, "cpu_seconds") / gigabytes, 3),
        "wall_seconds": round(median(figures, "wall_seconds"), 2),
        "gigabytes": gigabytes,
        "runs": figures,
    }


if __name__ == "__main__":
    main()
