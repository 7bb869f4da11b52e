"""Exported GeoTIFFs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.exports.drafts import Draft, Progress
from airflow_ee.emulator.exports.formats import GeoTiffFormat
from airflow_ee.emulator.limits import MAX_FILE_BYTES
from airflow_ee.emulator.pixels.formats import filled
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.raster import answer, block_side
from airflow_ee.emulator.values.image import Band

DEFAULT_FILE_BYTES = 2**31
"""An export is cut into square files of about this size, before compression, even without being asked to."""

CONTENT_TYPE = "image/tiff"


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
    form: GeoTiffFormat,
    folder: Path,
    progress: Progress,
    tags: Mapping[str, str],
) -> list[Draft]:
    """The files of an export, with ``tags``, as drafts in ``folder``."""
    dtype = file_dtype(bands, form.no_data)
    parts = list(_parts(grid, form, len(bands) * dtype.itemsize))
    for _, part in parts:
        _check_size(part, bands, dtype)
    written = []
    for number, (suffix, part) in enumerate(parts):
        path = folder / f"file_{number}.tif"
        if _write(path, part, bands, dtype, form, _share_of(progress, number, len(parts)), tags):
            written.append(Draft(path, f"{suffix}.tif", CONTENT_TYPE))
    return written


def _share_of(progress: Progress, number: int, total: int) -> Progress:
    """Progress of one file as progress of all."""
    return lambda share: progress((number + share) / total)


def default_side(pixel_bytes: int, tile_size: int) -> int:
    """The side of the files that an export is cut into by default, in pixels.

    >>> default_side(4, 256), default_side(24, 256)
    (23296, 9472)
    """
    return ceil(sqrt(DEFAULT_FILE_BYTES / pixel_bytes) / tile_size) * tile_size


def _parts(grid: Grid, form: GeoTiffFormat, pixel_bytes: int) -> Iterator[tuple[str, Grid]]:
    """The grid of each file with the end of its name: nothing for a single one, else ``-yMin-xMin`` in pixels."""
    side = default_side(pixel_bytes, form.tile_size)
    height, width = form.file_height or side, form.file_width or side
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
    form: GeoTiffFormat,
    progress: Progress,
    tags: Mapping[str, str],
) -> bool:
    seen = _fill(path, grid, bands, dtype, form, progress, tags)
    if form.skip_empty and not seen:
        path.unlink()
        return False
    if form.cloud_optimized:
        _make_cog(path, form)
    return True


def _profile(grid: Grid, count: int, dtype: np.dtype[Any], form: GeoTiffFormat) -> dict[str, Any]:
    profile = {
        "driver": "GTiff",
        "dtype": dtype.name,
        "count": count,
        "height": grid.height,
        "width": grid.width,
        "crs": grid.projection.crs.wkt,
        "transform": Affine(*grid.transform),
        "tiled": True,
        "blockxsize": max(16, form.tile_size // 16 * 16),
        "blockysize": max(16, form.tile_size // 16 * 16),
        "compress": "lzw",
        # Without this GDAL takes the fourth of four uint8 bands for alpha, and its zeros for a mask of the others.
        "photometric": "MINISBLACK",
        "bigtiff": "IF_SAFER",
    }
    return profile if form.no_data is None else {**profile, "nodata": form.no_data}


def _fill(
    path: Path,
    grid: Grid,
    bands: Sequence[Band],
    dtype: np.dtype[Any],
    form: GeoTiffFormat,
    progress: Progress,
    tags: Mapping[str, str],
) -> bool:
    """Write block by block; True if any pixel was not masked. Masked pixels are the no-data value, or 0 without one."""
    seen = False
    done, total = 0, grid.width * grid.height
    with rasterio.open(path, "w", **_profile(grid, len(bands), dtype, form)) as dataset:
        dataset.update_tags(**tags)
        for index, band in enumerate(bands, start=1):
            dataset.set_band_description(index, band.name)
        for block in grid.blocks(block_side(len(bands))):
            window = Window(block.col - grid.col, block.row - grid.row, block.width, block.height)
            for index, raster in enumerate(answer([band.node for band in bands], block), start=1):
                dataset.write(_plane(raster, block, form.no_data or 0.0, dtype), index, window=window)
                seen = seen or bool((raster.mask > 0).any())
            done += block.width * block.height
            progress(done / total)
    return seen


def _plane(raster: Any, block: Grid, no_data: float, dtype: np.dtype[Any]) -> Any:
    return np.broadcast_to(filled(raster, no_data, dtype), block.shape)


def _make_cog(draft: Path, form: GeoTiffFormat) -> None:
    """Rewrite a file with overviews, ordered for reading over HTTP."""
    plain = draft.with_name(draft.name + ".plain")
    draft.replace(plain)
    try:
        import rasterio.shutil

        size = max(128, form.tile_size)
        rasterio.shutil.copy(plain, draft, driver="COG", compress="LZW", blocksize=size, overview_resampling="nearest")
    finally:
        plain.unlink(missing_ok=True)
