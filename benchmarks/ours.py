"""Every call of the benchmarks into the product, each a function of its own.

Nothing of Airflow is imported: what is measured is what a worker does between the start and the end of a task's own work.
"""

import argparse
import importlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
from fsspec.implementations.local import LocalFileSystem

from airflow_ee.core.canvas import Canvas
from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.decode import PixelBlock
from airflow_ee.core.fetch import PixelFetcher
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.pixels import PixelSource, fetch_canvas, fetch_image
from airflow_ee.core.plan import Tile
from airflow_ee.core.resources import Band
from airflow_ee.core.settings import ClientSettings, Limits
from airflow_ee.core.sinks.base import Location
from benchmarks import scene
from benchmarks.measure import cost

FLOAT = np.dtype("float32")
ZARR_CHUNK = 512
"""Pixels along a side of the chunks that the Zarr sink compresses, by Blosc with zstd 3 and shuffled bytes."""
GEOTIFF_BLOCK = 512
"""Likewise of the blocks of the GeoTIFF sink, by zstd 1."""
GEOTIFF_PREDICTOR = 3
"""TIFF's predictor for floats as the GeoTIFF sink sets it: 2 differences of whole numbers, 3 of bytes by significance."""
IMPORTS = {
    "geotiff": ("airflow_ee.core.image_file",),
    "zarr": ("airflow_ee.core.image_file", "airflow_ee.core.sinks.zarr"),
    "patches": ("airflow_ee.core.patches",),
    "series": ("airflow_ee.core.timeseries", "pandas"),
}
"""What a piece of work imports besides, before its clock starts; Pandas by way of pyarrow, when that makes its first array."""
PATCH_COMPRESSION_LEVEL: int | None = None
"""Of the GZIP that patches are written in; None: not compressed."""


def client(url: str, **settings: Any) -> EarthEngineClient:
    """A client of the benchmark server, without credentials; the quota is no limit unless the case says one."""
    chosen = {"requests_per_second": 10_000.0, **settings}
    return EarthEngineClient(
        ClientSettings(project=scene.PROJECT, endpoint=url, high_volume_endpoint=url, **chosen), None
    )


def grid(side: int) -> PixelGrid:
    """The image's own grid."""
    metres = scene.PIXEL_METRES
    return PixelGrid(crs=scene.CRS, transform=(metres, 0, scene.LEFT, 0, -metres, scene.TOP), width=side, height=side)


def source(bands: int, side: int) -> PixelSource:
    """The image with its masks, as operators ask for it."""
    wanted = tuple(Band(id=name, dtype=FLOAT) for name in scene.BANDS[:bands])
    return PixelSource(asset_id=scene.image_id(bands, side), bands=wanted)


def room(side: int, bands: int) -> dict[str, np.ndarray]:
    """Memory for the whole image and its masks that was written to before, for :func:`to_memory`."""
    values = {name: np.zeros((side, side), FLOAT) + 0 for name in scene.BANDS[:bands]}
    return {**values, **{f"{name} valid": np.zeros((side, side), np.uint8) + 0 for name in scene.BANDS[:bands]}}


def to_memory(url: str, side: int, bands: int, into: dict[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
    """The whole image and its masks as arrays, by band; in given memory where there is some."""
    into = into or {
        **{name: np.empty((side, side), FLOAT) for name in scene.BANDS[:bands]},
        **{f"{name} valid": np.empty((side, side), np.uint8) for name in scene.BANDS[:bands]},
    }

    def deliver(tile: Tile, block: PixelBlock, _attempts: int) -> None:
        for name, values, mask in zip(block.bands, block.values, block.masks, strict=True):
            into[name][tile.slices] = values
            into[f"{name} valid"][tile.slices] = mask

    with client(url) as service:
        fetch_image(PixelFetcher(service), source(bands, side), grid(side), deliver)
    return into


def to_zarr(url: str, side: int, bands: int, folder: Path) -> None:
    """The whole image as a Zarr store."""
    to_file(url, side, bands, folder / "image.zarr", "ZARR")


def to_geotiff(url: str, side: int, bands: int, folder: Path) -> None:
    """The whole image as a GeoTIFF."""
    to_file(url, side, bands, folder / "image.tif", "GEO_TIFF")


def to_file(url: str, side: int, bands: int, path: Path, file_format: str) -> None:
    """The whole image as an operator makes it: parts, manifest and all."""
    from airflow_ee.core.image_file import ImageFile

    with client(url) as service:
        ImageFile(file_format=file_format).job(source(bands, side), grid(side), local(path)).run(service)


def local(path: Path) -> Location:
    """A place on the disk."""
    return Location(LocalFileSystem(), str(path), str(path))


def patches(url: str, count: int, folder: Path) -> None:
    """So many patches of 128 x 128 pixels and five bands, with their masks, as TFRecord, 40 requests in flight."""
    from airflow_ee.core.patch_fetch import PatchSource
    from airflow_ee.core.patch_grids import PatchRule, place_patches
    from airflow_ee.core.patch_plan import PatchPlan
    from airflow_ee.core.patches import PatchDataset, patch_layout
    from airflow_ee.core.points import Points
    from airflow_ee.core.sinks.shard_arrays import shard_format

    middle = np.array(list(scene.patch_corners(count))) + scene.PATCH_SIDE / 2
    to_degrees = pyproj.Transformer.from_crs(scene.CRS, "EPSG:4326", always_xy=True)
    metres = scene.PIXEL_METRES
    longitudes, latitudes = to_degrees.transform(scene.LEFT + metres * middle[:, 1], scene.TOP - metres * middle[:, 0])
    points = Points(longitudes=np.asarray(longitudes), latitudes=np.asarray(latitudes))
    rule = PatchRule(width=scene.PATCH_SIDE, height=scene.PATCH_SIDE, crs=scene.CRS, scale=metres)
    image = PatchSource(
        images=(scene.image_id(5, scene.PATCH_IMAGE_SIDE),), bands=source(5, scene.PATCH_IMAGE_SIDE).bands
    )
    plan = PatchPlan(grids=place_patches(points, rule), source=image, limits=Limits())
    layout = patch_layout(points, rule, image)
    made = PatchDataset(
        points=points, plan=plan, layout=layout, form=shard_format("TF_RECORD", layout, gzip=PATCH_COMPRESSION_LEVEL is not None), form_name="TF_RECORD",
        folder=local(folder / "patches"),
    )  # fmt: skip
    with client(url) as service:
        summary = made.make(service)
    if summary.total("patches") != count:
        raise RuntimeError(f"{summary.total('patches')} patches were made, not {count}")


def series(url: str, folder: Path) -> None:
    """Statistics of every image of the series, as a table."""
    from datetime import UTC, datetime

    from airflow_ee.core.grouping import group_images
    from airflow_ee.core.observations import series_bands
    from airflow_ee.core.region_file import NamedRegion
    from airflow_ee.core.series import SeriesTable
    from airflow_ee.core.series_rows import RowMaker
    from airflow_ee.core.timeseries import TimeSeries

    start, end = datetime(2000, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)
    regions = (NamedRegion(id="grid", region=None),)
    with client(url, requests_per_second=100.0) as service:
        images = service.list_images(scene.SERIES_ID, start=start, end=end)
        made = TimeSeries(
            collection=scene.SERIES_ID, preset=None, bands=series_bands(None, scene.BANDS[:2]), rule=None, regions=regions,
            regions_key="grid", grid=grid(scene.SERIES_SIDE), rows=RowMaker(collection=scene.SERIES_ID, regions=regions),
            table=SeriesTable(local(folder / "series")), rasters=None,
        )  # fmt: skip
        made.make(service, group_images(images, by="image", interval=(start, end)))


QUOTA_TILE = 16
QUOTA_ACROSS = 60


def quota(url: str, tiles: int) -> None:
    """A job of so many small tiles, a multiple of 60, under the quota of 40 at once and 100 a second; each tile must be there."""
    height, width = tiles // QUOTA_ACROSS * QUOTA_TILE, QUOTA_ACROSS * QUOTA_TILE
    area = grid(scene.FIELD * 4).window(row=0, col=0, rows=height, cols=width)
    wanted = source(1, scene.FIELD * 4)
    limits = Limits(target_bytes=QUOTA_TILE**2 * wanted.bytes_per_pixel)
    with client(url, requests_per_second=100.0, limits=limits) as service, tempfile.TemporaryDirectory() as folder:
        canvas = Canvas(area, wanted.names, Path(folder))
        fetcher = PixelFetcher(service)
        fetch_canvas(fetcher, wanted, canvas)
        values = canvas.values[0]
    if fetcher.progress.tiles != tiles:
        raise RuntimeError(f"planned {fetcher.progress.tiles} tiles instead of {tiles}")
    # The server answers every tile with the same pixels, so a hole or a shift shows.
    every = values.reshape(tiles // QUOTA_ACROSS, QUOTA_TILE, QUOTA_ACROSS, QUOTA_TILE)
    if not (every == every[:1, :, :1]).all() or not values.any():
        raise RuntimeError("tiles are missing or out of place")


def written_bytes(what: str, number: int, bands: int) -> int:
    """About what a piece of work writes to memory and to the page cache."""
    pixels = {"memory": number**2, "zarr": number**2, "geotiff": number**2, "patches": number * scene.PATCH_SIDE**2}
    return 2 * pixels.get(what, 0) * bands * FLOAT.itemsize


def main() -> None:
    """``python -m benchmarks.ours memory|zarr|geotiff|patches|series|quota URL NUMBER ...``: measure, print JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what")
    parser.add_argument("url")
    parser.add_argument("number", type=int, default=0, nargs="?")
    parser.add_argument("--bands", type=int, default=4)
    parser.add_argument(
        "--into", action="store_true", help="memory: read into arrays that are there before the clock starts"
    )
    parser.add_argument("--folder", type=Path, help="where files are left; one that is removed, without it")
    options = parser.parse_args()
    for module in IMPORTS.get(options.what, ()):
        importlib.import_module(module)
    kept: list[object] = []
    into = room(options.number, options.bands) if options.into else None
    with tempfile.TemporaryDirectory(prefix="bench-ours-") as scratch:
        folder = options.folder or Path(scratch)
        work: dict[str, Callable[[], object]] = {
            "memory": lambda: kept.append(to_memory(options.url, options.number, options.bands, into)),
            "zarr": lambda: to_zarr(options.url, options.number, options.bands, folder),
            "geotiff": lambda: to_geotiff(options.url, options.number, options.bands, folder),
            "patches": lambda: patches(options.url, options.number, folder),
            "series": lambda: series(options.url, folder),
            "quota": lambda: quota(options.url, options.number),
        }
        figures: dict[str, Any] = cost(
            work[options.what], memory_bytes=written_bytes(options.what, options.number, options.bands)
        )
    if "airflow" in sys.modules:
        raise RuntimeError("Airflow was imported: what is measured is a process without it")
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
