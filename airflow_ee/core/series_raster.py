"""The raster of an image or a group of a series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio

from airflow_ee.core.canvas import Canvas
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.mosaic import Layer
from airflow_ee.core.observations import SeriesBand
from airflow_ee.core.presets import RAW, Preset
from airflow_ee.core.sampling import Pixels
from airflow_ee.core.sinks.geotiff import write_geotiff
from airflow_ee.core.sinks.layout import BandLayout, RasterLayout

__all__ = ["write_series_raster"]

Array = npt.NDArray[Any]


def write_series_raster(
    file: Path,
    grid: PixelGrid,
    bands: Sequence[SeriesBand],
    layers: Mapping[str, Layer],
    pixels: Pixels | None,
    preset: Preset | None,
    tags: Mapping[str, str],
) -> tuple[RasterLayout, dict[str, float]]:
    """Write a Cloud Optimized GeoTIFF: digital numbers with scale and offset; indices and means as float32.

    Tells what was written, and the no-data value of each band that has one.

    Parameters
    ----------
    layers
        The series' own bands, with only good pixels valid.
    pixels
        The image that they come from: its quality and date bands are written as they are, behind the own ones; None: there
        were several images.
    """
    content = {}
    for band in bands:
        layer = layers[band.name]
        computed = band.formula is not None or pixels is None
        content[band.name] = (_narrow(layer.values) if computed else layer.values, layer.valid)
    numbers = {band.name: band.numbers for band in bands}
    if pixels is not None:
        inputs = {name for band in bands for name in band.inputs}
        for name in pixels.bands:
            if name not in inputs:
                content[name] = pixels.band(name)
                numbers[name] = preset.band(name) if preset else RAW
    write_geotiff(
        file,
        _canvas(grid, content, file.parent),
        cloud_optimized=True,
        widen=True,
        scales=[item.scale for item in numbers.values()],
        offsets=[item.offset for item in numbers.values()],
        units=[item.unit for item in numbers.values()],
        tags=tags,
    )
    with rasterio.open(file) as written:
        # One type for all bands, and no-data where there was room for it: the file knows best.
        layouts = tuple(
            BandLayout(
                name=name, dtype=np.dtype(written.dtypes[0]), scale=item.scale, offset=item.offset, unit=item.unit
            )
            for name, item in numbers.items()
        )
        nodata = {} if written.nodata is None else dict.fromkeys(numbers, written.nodata)
    return RasterLayout(grid=grid, bands=layouts, tags=tags), nodata


def _narrow(values: Array) -> Array:
    """Results of computations need no more than float32: 7 digits."""
    return values.astype(np.float32) if values.dtype == np.float64 else values


def _canvas(grid: PixelGrid, content: Mapping[str, tuple[Array, Array]], directory: Path) -> Canvas:
    canvas = Canvas(grid, (), directory)
    canvas.bands = tuple(content)
    canvas.values = tuple(values for values, _ in content.values())
    canvas.valid = tuple(valid for _, valid in content.values())
    return canvas
