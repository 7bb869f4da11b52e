"""``python -m benchmarks.engine_jobs ENGINE WORKERS URL ACROSS DOWN``: one job on one engine, and how long it took, as JSON.

A process of its own for each job: what an engine keeps (a Java machine, a cluster, modules) would make the next start cheaper.
"""

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from airflow_ee.core.client_reference import ClientReference, CredentialReference
from airflow_ee.core.image_file import ImageFile
from airflow_ee.core.job import PixelJob, RasterWork, place
from airflow_ee.core.settings import ClientSettings, Limits
from airflow_ee.engines.beam import BeamEngine
from airflow_ee.engines.dask import DaskEngine
from airflow_ee.engines.spark import SparkEngine
from airflow_ee.engines.threads import ThreadEngine
from benchmarks import ours, scene

SIDE = scene.FIELD * 5
TILE, SMALL_TILE = 512, 128
"""Pixels along a side of requests of 1 MiB and of 64 KiB: one band of float32, without a mask."""
LIFTED = 10_000.0
"""Requests a second where the quota is no limit."""


def engines(workers: int, batch_units: int | None) -> dict[str, Callable[[], Any]]:
    """Each engine with so many workers, each of which does one piece at a time."""

    def beam(mode: str) -> BeamEngine:
        options = {"direct_running_mode": mode, "direct_num_workers": workers}
        return BeamEngine(pipeline_options=options, batch_units=batch_units)

    return {
        "threads": ThreadEngine,
        "dask": lambda: DaskEngine(workers=workers, threads_per_worker=1, batch_units=batch_units),
        "spark": lambda: SparkEngine(master=f"local[{workers}]", batch_units=batch_units),
        "beam": lambda: beam("multi_threading"),
        "beam_processes": lambda: beam("multi_processing"),
    }


def job(url: str, folder: Path, across: int, down: int, tile: int, in_flight: int | None, rate: float) -> PixelJob:
    """A raster of so many tiles."""
    source = replace(ours.source(1, SIDE), masks="none")
    settings = ClientSettings(
        project=scene.PROJECT, endpoint=url, high_volume_endpoint=url, requests_per_second=rate,
        limits=Limits(target_bytes=tile**2 * source.bytes_per_pixel),
    )  # fmt: skip
    target = str(folder / "out")
    work = RasterWork(
        target=place(target, {}),
        source=source,
        grid=ours.grid(SIDE).window(row=0, col=0, rows=down * tile, cols=across * tile),
        # Zarr's chunks are as large as a tile, and nothing is left to do at the end; of smaller tiles NPY is made.
        file=ImageFile(file_format="ZARR" if tile == TILE else "NPY", mask="none"),
        max_concurrency=in_flight,
    )
    client = ClientReference(settings=settings, credentials=CredentialReference(kind="anonymous"))
    return PixelJob(client=client, output_uri=target, work=work)


def main() -> None:
    """Run one job, and print what it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=engines(1, None))
    parser.add_argument("workers", type=int)
    parser.add_argument("url")
    parser.add_argument("across", type=int, help="tiles")
    parser.add_argument("down", type=int, help="tiles")
    parser.add_argument("--tile", type=int, default=TILE)
    parser.add_argument(
        "--in-flight", type=int, help="requests at once of a piece of work; its share of the quota without"
    )
    parser.add_argument("--requests-per-second", type=float, default=LIFTED)
    parser.add_argument("--batch-units", type=int)
    options = parser.parse_args()
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory(prefix="bench-engine-") as folder:
        made = job(
            options.url, Path(folder), options.across, options.down, options.tile, options.in_flight,
            options.requests_per_second,
        )  # fmt: skip
        engine = engines(options.workers, options.batch_units)[options.engine]()
        begin = time.perf_counter()
        report = engine.run(made)
        seconds = time.perf_counter() - begin
    tiles = report.counts()["tiles"]
    if tiles != options.across * options.down:
        raise RuntimeError(f"{tiles} tiles were made of {options.across * options.down}")
    told = {"wall_seconds": round(seconds, 3), **report.counts(), "batches": [asdict(each) for each in report.batches]}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
