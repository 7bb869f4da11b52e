"""Stored images: JSON and a GeoTIFF for each band, written block by block into a folder and read from there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from affine import Affine
from rasterio.windows import Window

from airflow_ee.emulator.catalog.assets import AssetBand, ImageAsset, Kind
from airflow_ee.emulator.catalog.external import OBJECT, ExternalBand
from airflow_ee.emulator.catalog.files import FileBand, file_bands
from airflow_ee.emulator.durable import write_whole
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.crs import WGS84
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.raster import BLOCK_SIDE, Node, Pointwise, Raster, answer
from airflow_ee.emulator.pixels.types import PixelType
from airflow_ee.emulator.values.dates import Date, parse_time, timestamp
from airflow_ee.emulator.values.geometry import Geometry
from airflow_ee.emulator.values.image import Band

RECORD = "asset.json"
_INTERNAL_MASK: Any = partial(rasterio.Env, GDAL_TIFF_INTERNAL_MASK=True)
_OWN = ("system:index", "system:id", "system:version", "system:asset_size")
"""Properties that an asset has by what it is; a copy does not take them over."""

_FIELDS = ("system:time_start", "system:time_end", "system:footprint")
"""Properties that an asset has as fields of their own."""

Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class NewImage:
    """An image about to be stored."""

    kind: Kind
    grids: Sequence[Grid]
    """One for each band."""
    bands: Sequence[Band]
    policies: Mapping[str, str]
    properties: Mapping[str, Any]
    updated: datetime


def write_image(folder: Path, image: NewImage, progress: Progress) -> None:
    """Compute and write an image into an empty folder; ``progress`` is told the share that is done."""
    record = _record(image)
    with ExitStack() as opened, _INTERNAL_MASK():
        files = [opened.enter_context(_created(folder, number, image)) for number in range(len(image.bands))]
        masks = [opened.enter_context(_created(folder, number, image, mask=True)) for number in range(len(files))]
        partial_masks = _fill(files, masks, image, progress)
    for number, fractional in enumerate(partial_masks):
        if not fractional:
            _mask_path(folder, number).unlink()
    write_json(folder / RECORD, record)


def _created(folder: Path, number: int, image: NewImage, *, mask: bool = False) -> Any:
    profile = {
        "driver": "GTiff",
        "dtype": "float32" if mask else image.bands[number].type.dtype.name,
        "count": 1,
        "height": image.grids[number].height,
        "width": image.grids[number].width,
        "crs": image.grids[number].projection.crs.wkt,
        "transform": Affine(*image.grids[number].transform),
        "tiled": True,
        "blockxsize": BLOCK_SIDE,
        "blockysize": BLOCK_SIDE,
        "compress": "deflate",
        "bigtiff": "IF_SAFER",
        "sparse_ok": mask,
    }
    dataset = rasterio.open(_mask_path(folder, number) if mask else _band_path(folder, number), "w", **profile)
    dataset.set_band_description(1, image.bands[number].name)
    return dataset


def _fill(files: Sequence[Any], masks: Sequence[Any], image: NewImage, progress: Progress) -> list[bool]:
    """Write block by block; tells for each band whether any pixel is valid in part only."""
    fractional = [False] * len(files)
    done, total = 0, sum(grid.width * grid.height for grid in image.grids)
    for block, grid, numbers in _blocks(image):
        window = Window(block.col - grid.col, block.row - grid.row, block.width, block.height)
        for number, raster in zip(numbers, answer([image.bands[each].node for each in numbers], block), strict=True):
            mask = np.broadcast_to(raster.mask, block.shape)
            values = np.broadcast_to(raster.values, block.shape).astype(files[number].dtypes[0])
            files[number].write(values, 1, window=window)
            files[number].write_mask(mask > 0, window=window)
            masks[number].write(mask.astype(np.float32), 1, window=window)
            fractional[number] |= bool(((mask > 0) & (mask < 1)).any())
        done += block.width * block.height * len(numbers)
        progress(done / total)
    return fractional


def _blocks(image: NewImage) -> Iterator[tuple[Grid, Grid, list[int]]]:
    """The blocks of each grid, with the numbers of the bands that are on it: they are computed together."""
    for grid in dict.fromkeys(image.grids):
        numbers = [number for number, each in enumerate(image.grids) if each == grid]
        for block in grid.blocks(BLOCK_SIDE):
            yield block, grid, numbers


def _band_path(folder: Path, number: int) -> Path:
    return folder / f"band_{number}.tif"


def _mask_path(folder: Path, number: int) -> Path:
    return folder / f"mask_{number}.tif"


def _record(image: NewImage) -> dict[str, Any]:
    properties = {name: value for name, value in image.properties.items() if name not in (*_OWN, *_FIELDS)}
    times = {name: image.properties.get(f"system:{name}") for name in ("time_start", "time_end")}
    footprint = image.properties.get("system:footprint")
    return {
        "type": "IMAGE",
        "updateTime": timestamp(image.updated),
        "kind": image.kind.value,
        "times": {name: _milliseconds(value) for name, value in times.items() if value is not None},
        "footprint": footprint.in_crs(WGS84).wkt if isinstance(footprint, Geometry) else None,
        "properties": {name: _storable(name, value) for name, value in properties.items() if value is not None},
        "bands": [
            {
                "id": band.name,
                "type": [band.type.precision, *_limits(band.type)],
                "pyramidingPolicy": image.policies.get(band.name, "MEAN"),
            }
            for band in image.bands
        ],
    }


def _milliseconds(value: Any) -> float:
    return Date.of(value).milliseconds


def _limits(type_: PixelType) -> list[float]:
    return [type_.minimum, type_.maximum] if type_.minimum is not None and type_.maximum is not None else []


def _storable(name: str, value: Any) -> Any:
    if isinstance(value, Date):
        return value.milliseconds
    if isinstance(value, list):
        return [_storable(name, each) for each in value]
    if isinstance(value, str | bool | int | float):
        return value
    raise invalid(f"Property '{name}' has a type that an image asset cannot hold: {type(value).__name__}.")


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record whole or not at all."""
    write_whole(path, json.dumps(record, indent=1))


def read_image(identity: str, record: Mapping[str, Any], folder: Path, objects: Path | None = None) -> ImageAsset:
    """The image that a folder holds, or that is backed by files of the buckets."""
    external = [ExternalBand.from_record(saved) for saved in record["bands"] if OBJECT in saved]
    stored = (_band(folder, number, saved) for number, saved in enumerate(record["bands"]) if OBJECT not in saved)
    bands = tuple(band.asset_band(objects) for band in external) or tuple(stored)
    times = record.get("times", {})
    footprint = record.get("footprint")
    return ImageAsset(
        id=identity,
        kind=Kind(record["kind"]),
        bands=bands,
        updated=parse_time(record["updateTime"]),
        start=_moment(times.get("time_start")),
        end=_moment(times.get("time_end")),
        properties=record["properties"],
        footprint=Geometry(shapely.from_wkt(footprint)) if footprint else None,
        size_bytes=sum(path.stat().st_size for path in folder.glob("*.tif")),
        uris=tuple(dict.fromkeys(band.uri for band in external)),
    )


def _band(folder: Path, number: int, saved: Mapping[str, Any]) -> AssetBand:
    (found,) = file_bands(_band_path(folder, number))
    precision, *limits = saved["type"]
    type_ = PixelType(precision, *limits)
    node = FileBand(found.path, 1, saved["id"], type_, found.grid).node()
    if _mask_path(folder, number).exists():
        (mask,) = file_bands(_mask_path(folder, number))
        node = _masked(node, mask.node())
    return AssetBand(saved["id"], type_, found.grid, node, saved["pyramidingPolicy"])


def _masked(node: Node, mask: Node) -> Node:
    return Pointwise(lambda value, fraction: Raster(value.values, fraction.values.astype(np.float32)), node, mask)


def _moment(milliseconds: float | None) -> datetime | None:
    return None if milliseconds is None else Date(milliseconds).moment
