"""GeoTIFF files as nodes: whatever grid is asked for, the file's own pixels answer, by the nearest one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window

from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.pixels.crs import identify
from airflow_ee.emulator.pixels.grid import Affine6, Grid, Projection, Sites
from airflow_ee.emulator.pixels.raster import Node, Raster, pick
from airflow_ee.emulator.pixels.types import PixelType, type_of_dtype


@dataclass(frozen=True, slots=True)
class FileBand:
    """One band of a GeoTIFF."""

    path: Path
    index: int
    name: str
    type: PixelType
    grid: Grid

    def node(self) -> Node:
        """The band's pixels."""
        return _FileNode(self)


def file_bands(path: Path) -> list[FileBand]:
    """The bands of a file; named by their descriptions where they have any, else ``b1``, ``b2`` and so on."""
    try:
        with rasterio.open(path) as dataset:
            if dataset.crs is None:
                raise EmulatorError("INVALID_ARGUMENT", f"{path.name} has no coordinate system")
            affine: Affine6 = tuple(dataset.transform)[:6]
            projection = Projection(identify(dataset.crs.to_wkt()), affine)
            grid = Grid(projection, row=0, col=0, height=dataset.height, width=dataset.width)
            names = [text or f"b{number + 1}" for number, text in enumerate(dataset.descriptions)]
            types = [type_of_dtype(dtype) for dtype in dataset.dtypes]
    except RasterioError as problem:
        raise EmulatorError("INVALID_ARGUMENT", f"{path.name} cannot be read as a GeoTIFF: {problem}") from None
    parts = zip(names, types, strict=True)
    return [FileBand(path, number, name, type_, grid) for number, (name, type_) in enumerate(parts, start=1)]


class _FileNode(Node):
    """Reads the smallest window that has all the pixels, then picks them. The file is opened anew: threads share nothing."""

    def __init__(self, band: FileBand) -> None:
        self._band = band

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:  # noqa: ARG002 -- a leaf has none
        """Pixels by the nearest centre; outside of the file they are masked."""
        own = self._band.grid
        sites = grid.sites_in(own.projection)
        rows, cols = _span(sites.rows, own.height), _span(sites.cols, own.width)
        if rows is None or cols is None:
            nothing = np.broadcast_to(self._band.type.dtype.type(0), grid.shape)
            return Raster(nothing, np.broadcast_to(np.float32(0), grid.shape))
        raster = self._read(Window(cols[0], rows[0], cols[1] - cols[0], rows[1] - rows[0]))
        return pick(raster, Sites(sites.rows - rows[0], sites.cols - cols[0]), raster.values.shape)

    def _read(self, window: Any) -> Raster:
        with rasterio.open(self._band.path) as dataset:
            values = dataset.read(self._band.index, window=window)
            mask = dataset.read_masks(self._band.index, window=window)
        fraction = (mask / np.float32(255)).astype(np.float32)
        return Raster(np.where(fraction > 0, values, values.dtype.type(0)), fraction)


def _span(indices: Any, size: int) -> tuple[int, int] | None:
    """First and one past last of the indices inside ``0 .. size``."""
    inside = indices[(indices >= 0) & (indices < size)]
    return (int(inside.min()), int(inside.max()) + 1) if inside.size else None
