"""The most memory that streaming a large image to disk takes, and how that grows with the image."""

import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import client_core, in_own_process
from benchmarks.scale import scale
from benchmarks.serving import Serving, serving

BANDS = 4
SINKS = ("zarr", "geotiff")


def main(sinks: Sequence[str]) -> None:
    """Each sink with the large image and with one of half its side."""
    large = scale().large_side
    small = large // 2
    check_disk(2 * large**2 * BANDS * 5)
    figures: dict[str, dict[str, Any]] = {}
    with serving((BANDS, small), (BANDS, large)) as server:
        for sink in sinks:
            figures[sink] = {name: streamed(server, sink, side) for name, side in (("small", small), ("large", large))}
    peaks = {sink: each["large"]["peak_megabytes"] for sink, each in figures.items()}
    growth = {sink: each["large"]["peak_megabytes"] / each["small"]["peak_megabytes"] for sink, each in figures.items()}
    details = {**figures, "gigabytes": {"small": small**2 * BANDS * 4 / 1e9, "large": large**2 * BANDS * 4 / 1e9}}
    results = {
        "pixels.peak_rss_mb": {"value": max(peaks.values()), "details": details},
        "pixels.rss_growth": {
            "value": round(max(growth.values()), 3),
            "details": {sink: round(each, 3) for sink, each in growth.items()},
        },
    }
    sys.stdout.write(json.dumps(results) + "\n")


def check_disk(wanted: int) -> None:
    """Refuse to fill the disk."""
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < wanted:
        raise SystemExit(
            f"{wanted / 1e9:.0f} GB of disk are needed, {free / 1e9:.0f} GB are free in {tempfile.gettempdir()}"
        )


def streamed(server: Serving, sink: str, side: int) -> dict[str, Any]:
    """One image to disk, and away again."""
    with tempfile.TemporaryDirectory(prefix="bench-sink-") as folder:
        arguments = (sink, server.url, str(side), "--bands", str(BANDS), "--folder", folder)
        figures = in_own_process("benchmarks.ours", *arguments, core=client_core())
        written = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    return {**figures, "written_megabytes": round(written / 1e6)}


if __name__ == "__main__":
    main(sys.argv[1:] or SINKS)
