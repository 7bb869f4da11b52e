"""Rasters as bytes: NPY, GeoTIFF, PNG and JPEG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.raster import Raster

Named = Mapping[str, Raster]


def to_npy(rasters: Named, grid: Grid) -> bytes:
    """A structured array of shape (height, width), a field for each band; masked pixels are 0."""
    dtype = np.dtype([(name, raster.values.dtype.newbyteorder("<")) for name, raster in rasters.items()])
    array = np.zeros(grid.shape, dtype)
    for name, raster in rasters.items():
        array[name] = np.where(raster.mask > 0, raster.values, 0)
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def common_dtype(rasters: Named) -> np.dtype[Any]:
    """The one type that a GeoTIFF has for all its bands; it cannot hold int64."""
    dtype = np.result_type(*(raster.values.dtype for raster in rasters.values()))
    return np.dtype("float64") if dtype == np.int64 else dtype


def nodata_for(dtype: np.dtype[Any]) -> float:
    """The value of masked pixels: 0 for unsigned, the least for signed, negative infinity for real numbers."""
    if dtype.kind == "f":
        return -np.inf
    return float(np.iinfo(dtype).min) if dtype.kind == "i" else 0.0


def to_geotiff(rasters: Named, grid: Grid) -> bytes:
    """A georeferenced GeoTIFF with a nodata tag."""
    dtype = common_dtype(rasters)
    nodata = nodata_for(dtype)
    profile = {
        "driver": "GTiff",
        "dtype": dtype.name,
        "count": len(rasters),
        "height": grid.height,
        "width": grid.width,
        "crs": grid.projection.crs.wkt,
        "transform": Affine(*grid.transform),
        "nodata": nodata,
        "compress": "deflate",
        # Without this GDAL takes the fourth of four uint8 bands for alpha, and its zeros for a mask of the others.
        "photometric": "MINISBLACK",
    }
    with MemoryFile() as memory:  # type: ignore[no-untyped-call]
        with memory.open(**profile) as dataset:
            for index, (name, raster) in enumerate(rasters.items(), start=1):
                dataset.write(filled(raster, nodata, dtype), index)
                dataset.set_band_description(index, name)
        return bytes(memory.read())


def filled(raster: Raster, nodata: float, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values with ``nodata`` where masked."""
    return np.where(raster.mask > 0, raster.values.astype(dtype), np.asarray(nodata).astype(dtype))


def to_picture(rasters: Sequence[Raster], grid: Grid, file_format: str) -> tuple[bytes, str]:
    """A PNG with transparency where anything is masked, or a JPEG; AUTO_JPEG_PNG takes PNG only if it must."""
    check_picture(rasters)
    alpha = np.minimum.reduce([raster.mask for raster in rasters])
    transparent = bool((alpha < 1).any())
    if file_format == "JPEG" or (file_format == "AUTO_JPEG_PNG" and not transparent):
        return _picture("JPEG", [raster.values * (raster.mask > 0) for raster in rasters], grid), "image/jpeg"
    layers = [np.asarray(raster.values * (raster.mask > 0), dtype=np.uint8) for raster in rasters]
    if transparent:
        layers.append(np.round(alpha * 255).astype(np.uint8))
    return _picture("PNG", layers, grid), "image/png"


def to_rgba(rasters: Sequence[Raster], grid: Grid) -> bytes:
    """A PNG of red, green, blue and opacity, whatever the mask."""
    check_picture(rasters)
    colours = list(rasters) if len(rasters) == 3 else [rasters[0]] * 3
    alpha = np.minimum.reduce([np.broadcast_to(raster.mask, grid.shape) for raster in rasters])
    layers = [np.broadcast_to(raster.values * (raster.mask > 0), grid.shape) for raster in colours]
    return _picture("PNG", [*layers, np.round(alpha * 255)], grid)


def check_picture(rasters: Sequence[Raster]) -> None:
    """Refuse what is no picture."""
    if len(rasters) not in (1, 3) or any(raster.values.dtype != np.uint8 for raster in rasters):
        raise invalid("Image must have 1 or 3 bands of 8-bit values; use visualizationOptions to make them.")


def _picture(driver: str, layers: Sequence[NDArray[Any]], grid: Grid) -> bytes:
    size = {"count": len(layers), "height": grid.height, "width": grid.width}
    profile = {"driver": driver, "dtype": "uint8", "transform": Affine(*grid.transform), **size}
    with MemoryFile() as memory:  # type: ignore[no-untyped-call]
        with memory.open(**profile) as dataset:
            for index, layer in enumerate(layers, start=1):
                dataset.write(layer.astype(np.uint8), index)
        return bytes(memory.read())
