"""CPU seconds of an image to disk over those of its parts: the floor, the codec and the digest, in the same run."""

import json
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import alternating, client_core, in_own_process
from benchmarks.pixels_cpu import BANDS, record_requests, told
from benchmarks.pixels_memory import check_disk, streamed
from benchmarks.scale import scale
from benchmarks.serving import serving

SINKS = ("zarr", "geotiff")


def main(sinks: Sequence[str]) -> None:
    """Rounds of the floor, the parts of each sink, and each sink."""
    size = scale()
    side = size.disk_side
    check_disk(2 * side**2 * BANDS * 5)
    gigabytes = side**2 * BANDS * 4 / 1e9
    with serving((BANDS, side)) as server, tempfile.TemporaryDirectory() as folder:
        journal = record_requests(server, side, Path(folder))
        run = partial(in_own_process, core=client_core())
        server.set()
        runs: dict[str, Any] = {"floor": partial(run, "benchmarks.floor", server.url, str(journal))}
        for sink in sinks:
            runs[f"{sink}_parts"] = partial(run, "benchmarks.parts", sink, server.url, str(journal))
            runs[sink] = partial(streamed, server, sink, side)
        rounds = alternating(runs, size.pairs)
    results = {}
    for sink in sinks:
        pieces = zip(rounds[sink], rounds["floor"], rounds[f"{sink}_parts"], strict=True)
        ratios = sorted(
            whole["cpu_seconds"] / (floor["cpu_seconds"] + parts["cpu_seconds"]) for whole, floor, parts in pieces
        )
        details = {name: told(rounds[name], gigabytes) for name in ("floor", f"{sink}_parts", sink)}
        results[f"pixels.{sink}_cpu_over_parts"] = {"value": round(ratios[len(ratios) // 2], 3), "details": details}
    sys.stdout.write(json.dumps(results) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:] or SINKS)
