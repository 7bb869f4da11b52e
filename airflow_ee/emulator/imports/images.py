"""Images made of GeoTIFFs, as a manifest composes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from rasterio.errors import RasterioError

from airflow_ee.emulator.catalog.assets import Kind
from airflow_ee.emulator.catalog.files import FileBand
from airflow_ee.emulator.catalog.stored import NewImage
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.imports.buckets import Buckets, opened
from airflow_ee.emulator.imports.image_manifest import BandSource, ImageImport, Tile, Tileset
from airflow_ee.emulator.pixels.crs import WGS84, convert, identify
from airflow_ee.emulator.pixels.grid import Affine6, Grid, Projection
from airflow_ee.emulator.pixels.raster import Node, Pointwise, Raster
from airflow_ee.emulator.pixels.types import PixelType, type_of_dtype
from airflow_ee.emulator.values.geometry import Geometry
from airflow_ee.emulator.values.image import Band

OFF_THE_GRID = 1e-3
"""Fraction of a pixel by which a tile may miss the lattice of its tileset: what writers lose by rounding."""

_SAME_STEP = 1e-6


@dataclass(frozen=True, slots=True)
class Sheet:
    """One file, opened."""

    tile: Tile
    path: Path
    grid: Grid
    names: tuple[str, ...]
    dtypes: tuple[str, ...]
    simulated: bool


class _SheetNode(Node):
    """A file's pixels; a file that is damaged fails the import by name."""

    def __init__(self, band: FileBand, sheet: Sheet) -> None:
        self._node = band.node()
        self._uri = sheet.tile.file.uri

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:
        """The pixels of the file."""
        try:
            return self._node.compute(grid, inputs)
        except RasterioError:
            raise invalid(f"Unable to read {self._uri}: it is damaged.") from None


@dataclass(frozen=True, slots=True)
class _Mosaic:
    """A tileset, opened: its sheets on one lattice."""

    tileset: Tileset
    sheets: tuple[Sheet, ...]
    grid: Grid

    @property
    def count(self) -> int:
        """How many bands it has."""
        return len(self.sheets[0].names)

    def type(self, index: int) -> PixelType:
        """The type of a band's values."""
        return type_of_dtype(self.tileset.dtype or self.sheets[0].dtypes[index])

    def node(self, index: int) -> Node:
        """A band's pixels; where sheets overlap the last one is on top."""
        of_file = type_of_dtype(self.sheets[0].dtypes[index])
        nodes = [_SheetNode(FileBand(each.path, index + 1, "", of_file, each.grid), each) for each in self.sheets]
        node: Node = nodes[0] if len(nodes) == 1 else Pointwise(_stacked, *nodes)
        return Pointwise(_cast(np.dtype(self.tileset.dtype)), node) if self.tileset.dtype else node


def read_manifest(task: ImageImport, buckets: Buckets, folder: Path, now: datetime) -> NewImage:
    """The image that a manifest describes; files that are fetched are put into the folder."""
    mosaics = {name: _mosaic(tileset, buckets, folder) for name, tileset in task.tilesets.items()}
    sources = task.bands or all_bands(task, {name: mosaic.sheets[0].names for name, mosaic in mosaics.items()})
    bands = [_band(source, mosaics[source.tileset], _mask_of(source, task, mosaics)) for source in sources]
    simulated = any(sheet.simulated for mosaic in mosaics.values() for sheet in mosaic.sheets)
    return NewImage(
        kind=Kind.SIMULATED if simulated else Kind.MOUNTED,
        grids=[mosaics[source.tileset].grid for source in sources],
        bands=bands,
        policies={source.id: source.policy for source in sources},
        properties={**task.fields.properties, **_system(task, bands)},
        updated=now,
    )


def _system(task: ImageImport, bands: Sequence[Band]) -> dict[str, Any]:
    system: dict[str, Any] = {f"system:{name}": value for name, value in task.fields.times.items()}
    return {**system, "system:footprint": _footprint(task, bands)} if task.footprint else system


def _footprint(task: ImageImport, bands: Sequence[Band]) -> Geometry:
    named = {band.name: band for band in bands}
    if task.footprint_band and task.footprint_band not in named:
        raise invalid(f"There is no band '{task.footprint_band[:100]}' for the footprint.")
    grid = named.get(task.footprint_band, bands[0]).extent
    assert grid is not None
    cols, rows = np.array(task.footprint).T
    x, y = np.broadcast_arrays(*grid.projection.corners(rows + grid.row, cols + grid.col))
    edge = np.column_stack(convert(grid.projection.crs, WGS84, x, y))
    if not np.isfinite(edge).all():
        raise invalid("The footprint reaches to where its projection has no places.")
    return Geometry(shapely.Polygon(edge))


def all_bands(task: ImageImport, names: Mapping[str, Sequence[str]]) -> list[BandSource]:
    """Every band of every tileset, whose files name them so, but for those that are masks."""
    masks = {mask.tileset for mask in task.masks}
    found: list[BandSource] = []
    for tileset, in_file in names.items():
        for index in range(len(in_file) - (tileset in masks)):
            given = in_file[index] if task.file_names else ""
            found.append(BandSource(given or f"b{index + 1}", tileset, index, task.missing, task.policy))
    ids = [band.id for band in found]
    for band in ids:
        if ids.count(band) > 1:
            raise invalid(f"The files have band '{band}' twice: specify the bands of the image.")
    if not found:
        raise invalid("The image has no bands.")
    return found


def _band(source: BandSource, mosaic: _Mosaic, mask: Node | None) -> Band:
    check_index(source, mosaic.count)
    node = mosaic.node(source.index)
    if source.missing:
        node = Pointwise(_without(source.missing), node)
    if mask is not None:
        node = Pointwise(_where_valid, node, mask)
    return Band(source.id, mosaic.type(source.index), node, mosaic.grid.projection, mosaic.grid)


def check_index(source: BandSource, count: int) -> None:
    """Refuse a band that its tileset does not have."""
    if source.index >= count:
        where = f"tileset '{source.tileset}', which has {count}"
        raise invalid(f"Band '{source.id}' needs the band of index {source.index} of {where}.")


def _mask_of(source: BandSource, task: ImageImport, mosaics: Mapping[str, _Mosaic]) -> Node | None:
    for mask in task.masks:
        if not mask.bands or source.id in mask.bands:
            return mosaics[mask.tileset].node(mosaics[mask.tileset].count - 1)
    return None


def _mosaic(tileset: Tileset, buckets: Buckets, folder: Path) -> _Mosaic:
    sheets = tuple(open_sheet(tile, tileset, buckets, folder) for tile in tileset.tiles)
    first = sheets[0]
    for sheet in sheets[1:]:
        if (len(sheet.names), sheet.dtypes) != (len(first.names), first.dtypes):
            raise invalid(f"{sheet.tile.file.uri} has not the bands of {first.tile.file.uri}, with which it is tiled.")
    return _Mosaic(tileset, sheets, _joined(sheets))


def _joined(sheets: Sequence[Sheet]) -> Grid:
    """The window of the first sheet's lattice that has all of them."""
    projection = sheets[0].grid.projection
    corners = [_offset(sheet, sheets[0]) for sheet in sheets]
    top, left = min(row for row, _ in corners), min(col for _, col in corners)
    bottom = max(row + sheet.grid.height for (row, _), sheet in zip(corners, sheets, strict=True))
    right = max(col + sheet.grid.width for (_, col), sheet in zip(corners, sheets, strict=True))
    return Grid(projection, row=top, col=left, height=bottom - top, width=right - left)


def _offset(sheet: Sheet, first: Sheet) -> tuple[int, int]:
    """Row and column of a sheet's corner on the lattice of the first one."""
    mine, other = sheet.grid.projection, first.grid.projection
    steps = zip(_steps(mine.transform), _steps(other.transform), strict=True)
    size = max(abs(step) for step in _steps(other.transform))
    at = other.positions(np.array([mine.transform[2]]), np.array([mine.transform[5]]))
    row, col = float(at.rows[0]), float(at.cols[0])
    aligned = max(abs(row - round(row)), abs(col - round(col))) <= OFF_THE_GRID
    if mine.crs != other.crs or any(abs(a - b) > _SAME_STEP * size for a, b in steps) or not aligned:
        raise invalid(f"{sheet.tile.file.uri} does not lie on the pixel grid of {first.tile.file.uri}.")
    return round(row), round(col)


def _steps(transform: Affine6) -> tuple[float, float, float, float]:
    return transform[0], transform[1], transform[3], transform[4]


def open_sheet(tile: Tile, tileset: Tileset, buckets: Buckets, folder: Path) -> Sheet:
    """A file of a tileset, or the failure of the import."""
    path = opened(buckets, tile.file, folder)
    for sidecar in tile.sidecars:
        opened(buckets, sidecar, folder)
    try:
        with rasterio.open(path, driver="GTiff") as dataset:
            return _looked_at(tile, path, dataset, tileset)
    except RasterioError:
        raise invalid(f"Unable to open {tile.file.uri}: it is not a GeoTIFF.") from None


def _looked_at(tile: Tile, path: Path, dataset: Any, tileset: Tileset) -> Sheet:
    if dataset.crs is None and tileset.crs is None:
        raise invalid(f"Unable to open {tile.file.uri}: it has no coordinate system, and its tileset names none.")
    if any(np.dtype(dtype).kind not in "iuf" for dtype in dataset.dtypes):
        raise invalid(f"Unable to open {tile.file.uri}: pixels of type {dataset.dtypes[0]} cannot be used.")
    if tile.size not in (None, (dataset.width, dataset.height)):
        size = f"{dataset.width}x{dataset.height}"
        raise invalid(f"{tile.file.uri} has {size} pixels, which are not the dimensions of its source.")
    affine: Affine6 = tile.transform or tuple(dataset.transform)[:6]
    projection = Projection(tileset.crs or identify(dataset.crs.to_wkt()), affine)
    return Sheet(
        tile,
        path,
        Grid(projection, row=0, col=0, height=dataset.height, width=dataset.width),
        tuple(text or "" for text in dataset.descriptions),
        tuple(dataset.dtypes),
        simulated=dataset.tags().get("simulated") == "true",
    )


def _stacked(*layers: Raster) -> Raster:
    values, mask, _ = layers[0]
    for layer in layers[1:]:
        valid = layer.mask > 0
        values, mask = np.where(valid, layer.values, values), np.where(valid, layer.mask, mask)
    return Raster(values, mask)


def _cast(dtype: np.dtype[Any]) -> Callable[[Raster], Raster]:
    """Cut towards zero and clamped, as casts of images are."""

    def cast(raster: Raster) -> Raster:
        if dtype.kind == "f":
            return Raster(raster.values.astype(dtype), raster.mask)
        limits = np.iinfo(dtype)
        known = np.nan_to_num(raster.values) if raster.values.dtype.kind == "f" else raster.values
        return Raster(np.clip(known, limits.min, limits.max).astype(dtype), raster.mask)

    return cast


def _without(missing: Iterable[float]) -> Callable[[Raster], Raster]:
    values = tuple(missing)

    def without(raster: Raster) -> Raster:
        known = ~np.isin(raster.values, [value for value in values if not np.isnan(value)])
        if any(np.isnan(value) for value in values):
            known &= ~np.isnan(raster.values)
        return Raster(raster.values, (raster.mask * known).astype(np.float32))

    return without


def _where_valid(raster: Raster, mask: Raster) -> Raster:
    return Raster(raster.values, (raster.mask * ((mask.values != 0) & (mask.mask > 0))).astype(np.float32))
