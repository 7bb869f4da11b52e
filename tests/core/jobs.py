"""Small jobs of many tiles against an emulator, for tests that disturb them; run as a program, one of them."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from fsspec.implementations.local import LocalFileSystem
from google.auth.credentials import Credentials

from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.expression import Expression, constant, invoke
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.image_file import ImageFile
from airflow_ee.core.patch_fetch import PatchSource
from airflow_ee.core.patch_grids import PatchRule, place_patches
from airflow_ee.core.patch_plan import PatchPlan
from airflow_ee.core.patches import PatchDataset, patch_layout
from airflow_ee.core.pixels import PixelSource
from airflow_ee.core.points import random_points
from airflow_ee.core.raster import RasterJob
from airflow_ee.core.region import Region
from airflow_ee.core.resources import Band
from airflow_ee.core.settings import ClientSettings, Limits, RetryPolicy
from airflow_ee.core.sinks.base import Location
from airflow_ee.core.sinks.shard_arrays import shard_format

METHOD = "image:computePixels"
RASTERS = ("GEO_TIFF", "COG", "NPY", "NPZ", "ZARR", "TF_RECORD")
PATCHES = "PATCHES"
"""TFRecords of patches around points, not of a raster."""
SIDE = 16
"""Rows and columns of a tile."""
BYTES_PER_PIXEL = 9
"""As the service counts: an int16, an int8, a mask of a byte each, and a byte for each of these four bands."""
CONCURRENCY = 4
QUICK = RetryPolicy(attempts=8, initial_seconds=0.01, maximum_seconds=0.02)


def _call(name: str, **arguments: Any) -> dict[str, Any]:
    return invoke(
        name, **{key: value if isinstance(value, dict) else constant(value) for key, value in arguments.items()}
    )


def _number(value: float) -> dict[str, Any]:
    return _call("Image.constant", value=value)


def _degrees(source: str, name: str, size: int, cast: str) -> dict[str, Any]:
    chosen = _call("Image.select", input=_call("Image.pixelLonLat"), bandSelectors=[source])
    pieces = _call("Image.mod", image1=_call("Image.abs", value=scaled(chosen)), image2=_number(size))
    return _call("Image.rename", input=_call(cast, value=pieces), names=[name])


def scaled(image: dict[str, Any]) -> dict[str, Any]:
    """Ten thousand times an image."""
    return _call("Image.multiply", image1=image, image2=_number(1e4))


def expression() -> Expression:
    """Two bands that change from pixel to pixel, one of them masked in stripes."""
    fine = _degrees("longitude", "fine", 9000, "Image.toInt16")
    coarse = _degrees("latitude", "coarse", 100, "Image.toInt8")
    masked = _call("Image.updateMask", image=fine, mask=_call("Image.gt", image1=coarse, image2=_number(30)))
    both = _call("Image.addBands", dstImg=masked, srcImg=coarse)
    return Expression.parse({"result": "0", "values": {"0": both}})


BANDS = (Band(id="fine", dtype=np.dtype("i2")), Band(id="coarse", dtype=np.dtype("i1")))
SOURCE = PixelSource(expression=expression(), bands=BANDS)


def place(path: Path | str) -> Location:
    """A local file."""
    return Location(LocalFileSystem(), str(path), str(path))


def grid(tiles: int, *, wide: int = 10) -> PixelGrid:
    """A grid of so many tiles, ten beside one another."""
    return PixelGrid(
        crs="EPSG:32721",
        transform=(10, 0, 600_000, 0, -10, 8_700_000),
        width=SIDE * wide,
        height=SIDE * (tiles // wide),
    )


def connected(url: str, *, credentials: Credentials | None = None, **settings: Any) -> EarthEngineClient:
    """A client that asks for small tiles, and does not wait long."""
    settings = {
        "endpoint": url,
        "high_volume_endpoint": url,
        "retry": QUICK,
        "request_timeout_seconds": 20,
        "requests_per_second": 1e4,
        "max_concurrency": CONCURRENCY,
        "limits": Limits(target_bytes=SIDE * SIDE * BYTES_PER_PIXEL, floor_side=4),
        **settings,
    }
    return EarthEngineClient(ClientSettings(project="demo-project", **settings), credentials)


def raster(
    folder: Path | str, form: str, *, tiles: int, target: Location | None = None, source: PixelSource = SOURCE
) -> RasterJob:
    """A raster whose tiles are as small as its sink can have them."""
    job = ImageFile(file_format=form).job(source, grid(tiles), target or place(Path(folder) / "out"))

    def small(layout: Any) -> Any:
        sink: Any = job.sink_for(layout)
        return replace(sink, chunk=SIDE) if form == "ZARR" else replace(sink, block=SIDE)

    return replace(job, sink_for=small)


def patches(folder: Path | str, *, points: int, shards: int) -> PatchDataset:
    """TFRecords of patches around points, a request for each point."""
    chosen = random_points(Region.parse([-57.0, -14.0, -55.0, -12.0]), count=points, seed=5)
    rule = PatchRule(width=SIDE, height=SIDE, scale=10.0, crs="EPSG:32721")
    source = PatchSource(expression=expression(), bands=BANDS)
    layout = patch_layout(chosen, rule, source)
    return PatchDataset(
        points=chosen,
        plan=PatchPlan(grids=place_patches(chosen, rule), source=source, limits=Limits(), shards=shards),
        layout=layout,
        form=shard_format("TF_RECORD", layout, gzip=True),
        form_name="TF_RECORD",
        folder=place(Path(folder) / "out"),
    )


def run(url: str, folder: Path | str, form: str, tiles: int, **options: Any) -> None:
    """Make one, with what is there already; ``options`` are the client's."""
    with connected(url, **options) as client:
        if form == PATCHES:
            patches(folder, points=tiles, shards=20).make(client)
        else:
            job = raster(folder, form, tiles=tiles)
            _ = job.finished() or job.run(client)


def content(folder: Path) -> dict[str, bytes]:
    """Every file that is data, hidden ones too: manifests tell of attempts."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "manifest" not in path.name
    }


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    print("begun", flush=True)
    run(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
