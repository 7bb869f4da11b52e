"""The value that marks masked pixels, by type; the same for every format."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from airflow_ee.core.sinks.layout import BandLayout, RasterLayout

__all__ = ["band_nodata", "default_nodata", "fitting_nodata"]


def band_nodata(layout: RasterLayout, band: BandLayout) -> float | int:
    """What marks masked pixels of a band: the layout's nodata, or its type's.

    >>> from airflow_ee.core.grid import PixelGrid
    >>> grid = PixelGrid(crs="EPSG:4326", transform=(1, 0, 0, 0, -1, 0), width=1, height=1)
    >>> band = BandLayout(name="NDVI", dtype=np.dtype("int16"))
    >>> band_nodata(RasterLayout(grid=grid, bands=(band,)), band)
    -32768

    Raises
    ------
    ValueError
        When the type has no such value.
    """
    if layout.nodata is None:
        return default_nodata(band.dtype)
    return fitting_nodata(layout.nodata, band.dtype, f" for band {band.name}")


def default_nodata(dtype: np.dtype[Any]) -> float | int:
    """NaN for floats, the lowest of a signed type, the highest of an unsigned one.

    >>> default_nodata(np.dtype("uint8")), default_nodata(np.dtype("int16"))
    (255, -32768)
    """
    if dtype.kind == "f":
        return math.nan
    limits = np.iinfo(dtype)
    return int(limits.min) if dtype.kind == "i" else int(limits.max)


def fitting_nodata(nodata: float, dtype: np.dtype[Any], where: str = "") -> float | int:
    """``nodata`` as a value of the type.

    Parameters
    ----------
    where
        Told in the error, after the type.

    Raises
    ------
    ValueError
        When the type has no such value.
    """
    floats = dtype.kind == "f"
    limits: Any = np.finfo(dtype) if floats else np.iinfo(dtype)
    lowest, highest = (float(limits.min), float(limits.max)) if floats else (int(limits.min), int(limits.max))
    fits = lowest <= nodata <= highest and (floats or nodata == int(nodata))
    if not (fits or (floats and not math.isfinite(nodata))):
        raise ValueError(f"nodata must be a {dtype.name}{where}, {lowest} to {highest}, got {nodata}")
    return float(dtype.type(nodata)) if floats else int(nodata)
