"""Exported GeoTIFFs: written beside their place and moved there, so that nobody ever sees half a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.exports.request import FileDestination
from airflow_ee.emulator.limits import MAX_FILE_BYTES
from airflow_ee.emulator.pixels.formats import filled
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.raster import BLOCK_SIDE, answer
from airflow_ee.emulator.values.image import Band

MAX_FILE_SIDE = 32_768
"""A larger export is split even without being asked to."""

Progress = Callable[[float], None]


def file_dtype(bands: Sequence[Band], no_data: float | None) -> np.dtype[Any]:
    """The one type of a file's bands: wide enough for each of them and for the no-data value."""
    dtype = np.result_type(*(band.type.dtype for band in bands))
    if no_data is not None and dtype.kind in "iu":
        whole = float(no_data).is_integer()
        dtype = np.result_type(dtype, np.min_scalar_type(int(no_data))) if whole else np.dtype("float64")
    return np.dtype("float64") if dtype in (np.int64, np.uint64) else dtype


def write_files(
    bands: Sequence[Band],
    grid: Grid,
    destination: FileDestination,
    root: Path,
    progress: Progress,
    tags: Mapping[str, str],
) -> list[Path]:
    """The files of an export, with ``tags``; ``progress`` is told the share that is done and may raise to stop."""
    dtype = file_dtype(bands, destination.no_data)
    parts = list(_parts(grid, destination))
    for _, part in parts:
        _check_size(part, bands, dtype)
    written = []
    for number, (suffix, part) in enumerate(parts):
        path = root / destination.place / f"{destination.prefix}{suffix}.tif"
        if _write(path, part, bands, dtype, destination, _share_of(progress, number, len(parts)), tags):
            written.append(path)
    return written


def _share_of(progress: Progress, number: int, total: int) -> Progress:
    """Progress of one file as progress of all."""
    return lambda share: progress((number + share) / total)


def _parts(grid: Grid, destination: FileDestination) -> Iterator[tuple[str, Grid]]:
    """The grid of each file with the end of its name: nothing for a single one, else ``-yMin-xMin`` in pixels."""
    height = destination.tile_height or MAX_FILE_SIDE
    width = destination.tile_width or MAX_FILE_SIDE
    if height >= grid.height and width >= grid.width:
        yield "", grid
        return
    for row in range(0, grid.height, height):
        for col in range(0, grid.width, width):
            size = {"height": min(height, grid.height - row), "width": min(width, grid.width - col)}
            yield f"-{row:010d}-{col:010d}", grid.window(row=row, col=col, **size)


def _check_size(grid: Grid, bands: Sequence[Band], dtype: np.dtype[Any]) -> None:
    size = grid.width * grid.height * len(bands) * dtype.itemsize
    if size >= MAX_FILE_BYTES:
        text = "File dimensions are too large for the number of bands and data type: the total file size requested is"
        raise invalid(f"{text} {size} but must be less than {MAX_FILE_BYTES} bytes.")


def _write(
    path: Path,
    grid: Grid,
    bands: Sequence[Band],
    dtype: np.dtype[Any],
    destination: FileDestination,
    progress: Progress,
    tags: Mapping[str, str],
) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.writing")
    try:
        seen = _fill(draft, grid, bands, dtype, destination, progress, tags)
        if destination.skip_empty and not seen:
            return False
        if destination.cloud_optimized:
            _make_cog(draft, destination)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return True


def _profile(grid: Grid, count: int, dtype: np.dtype[Any], destination: FileDestination) -> dict[str, Any]:
    profile = {
        "driver": "GTiff",
        "dtype": dtype.name,
        "count": count,
        "height": grid.height,
        "width": grid.width,
        "crs": grid.projection.crs.wkt,
        "transform": Affine(*grid.transform),
        "tiled": True,
        "blockxsize": max(16, destination.tile_size // 16 * 16),
        "blockysize": max(16, destination.tile_size // 16 * 16),
        "compress": "lzw",
        "bigtiff": "IF_SAFER",
    }
    return profile if destination.no_data is None else {**profile, "nodata": destination.no_data}


def _fill(
    path: Path,
    grid: Grid,
    bands: Sequence[Band],
    dtype: np.dtype[Any],
    destination: FileDestination,
    progress: Progress,
    tags: Mapping[str, str],
) -> bool:
    """Write block by block; True if any pixel was not masked. Masked pixels are the no-data value, or 0 without one."""
    seen = False
    done, total = 0, grid.width * grid.height
    with rasterio.open(path, "w", **_profile(grid, len(bands), dtype, destination)) as dataset:
        dataset.update_tags(**tags)
        for index, band in enumerate(bands, start=1):
            dataset.set_band_description(index, band.name)
        for block in grid.blocks(BLOCK_SIDE):
            window = Window(block.col - grid.col, block.row - grid.row, block.width, block.height)
            for index, raster in enumerate(answer([band.node for band in bands], block), start=1):
                dataset.write(_plane(raster, block, destination.no_data or 0.0, dtype), index, window=window)
                seen = seen or bool((raster.mask > 0).any())
            done += block.width * block.height
            progress(done / total)
    return seen


def _plane(raster: Any, block: Grid, no_data: float, dtype: np.dtype[Any]) -> Any:
    return np.broadcast_to(filled(raster, no_data, dtype), block.shape)


def _make_cog(draft: Path, destination: FileDestination) -> None:
    """Rewrite a file with overviews, ordered for reading over HTTP."""
    plain = draft.with_name(draft.name + ".plain")
    draft.replace(plain)
    try:
        import rasterio.shutil

        size = max(128, destination.tile_size)
        rasterio.shutil.copy(plain, draft, driver="COG", compress="LZW", blocksize=size, overview_resampling="nearest")
    finally:
        plain.unlink(missing_ok=True)
