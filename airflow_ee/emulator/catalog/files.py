"""GeoTIFF files as nodes: whatever grid is asked for, the file's own pixels answer, by the nearest one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window

from airflow_ee.emulator.errors import EmulatorError, invalid
from airflow_ee.emulator.pixels.crs import identify
from airflow_ee.emulator.pixels.grid import Affine6, Grid, Projection, Sites
from airflow_ee.emulator.pixels.raster import Node, Raster, pick
from airflow_ee.emulator.pixels.types import PixelType, type_of_dtype

Location = Path | str
"""A file, or the URL of one."""


@dataclass(frozen=True, slots=True)
class FileBand:
    """One band of a GeoTIFF."""

    path: Location
    index: int
    name: str
    type: PixelType
    grid: Grid
    nodata: float | None = None
    """A value of masked pixels that the file itself does not tell."""
    any_format: bool = False
    """Whether it may be read by another driver than GeoTIFF's."""

    def node(self) -> Node:
        """The band's pixels."""
        return _FileNode(self)


@contextmanager
def opened(location: Location, *, any_format: bool = False) -> Iterator[Any]:
    """A GeoTIFF and nothing else, unless asked for: other formats can name further files and addresses. Beside a URL no other files are looked for."""
    alone: Any = {} if isinstance(location, Path) else {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
    environment: Any = rasterio.Env
    with environment(**alone), rasterio.open(location, driver=None if any_format else "GTiff") as dataset:
        yield dataset


def file_bands(path: Location, *, any_format: bool = False) -> list[FileBand]:
    """The bands of a file; named by their descriptions where they have any, else ``b1``, ``b2`` and so on."""
    shown = path.name if isinstance(path, Path) else path
    try:
        with opened(path, any_format=any_format) as dataset:
            if dataset.crs is None:
                raise EmulatorError("INVALID_ARGUMENT", f"{shown} has no coordinate system")
            affine: Affine6 = tuple(dataset.transform)[:6]
            projection = Projection(identify(dataset.crs.to_wkt()), affine)
            grid = Grid(projection, row=0, col=0, height=dataset.height, width=dataset.width)
            names = [text or f"b{number + 1}" for number, text in enumerate(dataset.descriptions)]
            types = [type_of_dtype(dtype) for dtype in dataset.dtypes]
    except RasterioError as problem:
        raise EmulatorError("INVALID_ARGUMENT", f"{shown} cannot be read as a GeoTIFF: {problem}") from None
    parts = zip(names, types, strict=True)
    return [
        FileBand(path, number, name, type_, grid, any_format=any_format)
        for number, (name, type_) in enumerate(parts, start=1)
    ]


class _FileNode(Node):
    """Reads the smallest window that has all the pixels, then picks them. The file is opened anew: threads share nothing."""

    def __init__(self, band: FileBand) -> None:
        self._band = band

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:  # noqa: ARG002 -- a leaf has none
        """Pixels by the nearest centre; outside of the file they are masked."""
        own = self._band.grid
        sites = grid.sites_in(own.projection)
        rows, cols = span(sites.rows, own.height), span(sites.cols, own.width)
        if rows is None or cols is None:
            nothing = np.broadcast_to(self._band.type.dtype.type(0), grid.shape)
            return Raster(nothing, np.broadcast_to(np.float32(0), grid.shape))
        raster = self._read(Window(cols[0], rows[0], cols[1] - cols[0], rows[1] - rows[0]))
        return pick(raster, Sites(sites.rows - rows[0], sites.cols - cols[0]), raster.values.shape)

    def _read(self, window: Any) -> Raster:
        values, mask = self._stored(window)
        fraction = (mask / np.float32(255)).astype(np.float32)
        nodata = self._band.nodata
        if nodata is not None:
            fraction[np.isnan(values) if np.isnan(nodata) else values == nodata] = 0
        return Raster(np.where(fraction > 0, values, values.dtype.type(0)), fraction)

    def _stored(self, window: Any) -> tuple[Any, Any]:
        try:
            with opened(self._band.path, any_format=self._band.any_format) as dataset:
                return dataset.read(self._band.index, window=window), dataset.read_masks(
                    self._band.index, window=window
                )
        except RasterioError as problem:
            if isinstance(self._band.path, Path):
                raise
            raise invalid(f"Unable to read {self._band.path}: {problem}") from None


def span(indices: Any, size: int) -> tuple[int, int] | None:
    """First and one past last of the indices inside ``0 .. size``."""
    inside = indices[(indices >= 0) & (indices < size)]
    return (int(inside.min()), int(inside.max()) + 1) if inside.size else None
