"""``python -m airflow_ee.emulator catalog FOLDER``: a static STAC collection of a folder of GeoTIFFs.

What it writes is `STAC 1.1 <https://github.com/radiantearth/stac-spec>`_ with the projection and raster extensions: a
``collection.json``, and a file for each item below ``items``, all links relative. Files whose names are the same up to
the date are one item, with an asset each.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shapely
from rasterio.errors import RasterioError

from airflow_ee.emulator.catalog.external import not_optimized
from airflow_ee.emulator.catalog.files import FileBand, file_bands, opened
from airflow_ee.emulator.catalog.stac_names import Named, named, time_of_tags
from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.values.image import outline

if TYPE_CHECKING:
    from pystac import Asset, Collection, Item

_EXTENSIONS = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
)
_STRUCTURE = ("AREA_OR_POINT", "TIFFTAG_", "OVR_", "LAYOUT", "COMPRESSION", "INTERLEAVE")
"""Beginnings of tags that tell how a file is made, not what it shows."""


@dataclass(frozen=True, slots=True)
class _File:
    """What a GeoTIFF tells of itself."""

    path: Path
    name: Named
    bands: tuple[FileBand, ...]
    described: tuple[Mapping[str, Any], ...]
    """STAC's band objects."""
    tags: Mapping[str, str]

    @property
    def key(self) -> str:
        """The key of its asset."""
        return self.name.part or "data"

    @property
    def grid(self) -> Grid:
        """Its pixels."""
        return self.bands[0].grid


def make_catalog(arguments: Sequence[str]) -> int:
    """Run the command; the exit code is 2 when a file cannot be part of a catalog."""
    options = _parser().parse_args(arguments)
    output = options.output or options.folder
    if output.is_dir():
        output /= "collection.json"
    try:
        if not options.folder.is_dir():
            raise NotADirectoryError(f"there is no folder {options.folder}")
        collection = folder_collection(
            options.folder, identity=options.id, title=options.title, licence=options.license, days=options.days
        )
        _save(collection, output)
    except (OSError, ValueError, RasterioError, EmulatorError) as problem:
        sys.stderr.write(f"error: {problem}\n")
        return 2
    count = sum(1 for _ in collection.get_items())
    sys.stdout.write(f"{output}: {count} items; serve them with --catalog ID={output}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog="python -m airflow_ee.emulator catalog",
        description="Make a static STAC collection of a folder of GeoTIFFs.",
    )
    options.add_argument("folder", type=Path, help="where the GeoTIFFs are")
    options.add_argument(
        "--output", type=Path, help="the file to write, or where a collection.json is written (default: FOLDER)"
    )
    options.add_argument("--id", help="of the collection (default: the folder's name)")
    options.add_argument("--title", help="of the collection (default: its id)")
    options.add_argument("--license", default="other", help="SPDX name of the images' licence (default: %(default)s)")
    options.add_argument("--days", type=float, help="how long the time of an image lasts, for composites")
    return options


def folder_collection(
    folder: Path,
    *,
    identity: str | None = None,
    title: str | None = None,
    licence: str = "other",
    days: float | None = None,
) -> Collection:
    """The collection, not yet written; items are in order of time."""
    import pystac

    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".tif", ".tiff"))
    if not paths:
        raise ValueError(f"no GeoTIFF in {folder}")
    groups: dict[str, list[_File]] = {}
    for path in paths:
        file = _read(path)
        groups.setdefault(file.name.item, []).append(file)
    items = sorted(
        (_item(name, files, days) for name, files in groups.items()), key=lambda item: (_start(item), item.id)
    )
    whole = shapely.union_all([shapely.box(*(item.bbox or ())) for item in items])
    collection = pystac.Collection(
        id=identity or folder.resolve().name,
        title=title or identity or folder.resolve().name,
        description=f"GeoTIFFs of the folder {folder.resolve().name}.",
        license=licence,
        extent=pystac.Extent(
            pystac.SpatialExtent([list(whole.bounds)]),
            pystac.TemporalExtent([[_start(items[0]), max(map(_end, items))]]),
        ),
    )
    collection.add_items(items)
    return collection


def _start(item: Item) -> datetime:
    start = item.common_metadata.start_datetime or item.datetime
    assert start is not None  # every item is made with one
    return start


def _end(item: Item) -> datetime:
    return item.common_metadata.end_datetime or _start(item)


def _save(collection: Collection, output: Path) -> None:
    import pystac

    whole = output.resolve()
    whole.parent.mkdir(parents=True, exist_ok=True)
    collection.set_self_href(str(whole))
    for item in collection.get_items():
        item.set_self_href(str(whole.parent / "items" / f"{item.id}.json"))
    collection.make_all_asset_hrefs_relative()
    collection.save(catalog_type=pystac.CatalogType.SELF_CONTAINED)


def _read(path: Path) -> _File:
    """What the file tells, or why it cannot be used, by its name."""
    try:
        bands = file_bands(path)
        with opened(path) as dataset:
            tags = dataset.tags()
            titles = zip(bands, dataset.descriptions, strict=True)
            name = named(path) or time_of_tags(path, tags)
            names = [title or _untitled(band.name, name.part, len(bands)) for band, title in titles]
            described = [_described(dataset, band, title) for band, title in zip(bands, names, strict=True)]
    except EmulatorError as problem:
        raise ValueError(f"{path}: {problem}") from None
    return _File(path, name, tuple(bands), tuple(described), tags)


def _untitled(number: str, part: str, count: int) -> str:
    """The name of a band that has none: its file's part, or its number."""
    if not part:
        return number
    return part if count == 1 else f"{part}_{number}"


def _described(dataset: Any, band: FileBand, name: str) -> dict[str, Any]:
    at = band.index - 1
    shown: dict[str, Any] = {"name": name, "data_type": dataset.dtypes[at]}
    nodata = dataset.nodatavals[at]
    if nodata is not None:
        shown["nodata"] = nodata if abs(nodata) < float("inf") else str(nodata)
    if (dataset.scales[at], dataset.offsets[at]) != (1.0, 0.0):
        shown |= {"raster:scale": dataset.scales[at], "raster:offset": dataset.offsets[at]}
    return shown | ({"unit": dataset.units[at]} if dataset.units[at] else {})


def _item(name: str, files: Sequence[_File], days: float | None) -> Item:
    import pystac

    start = files[0].name.time
    keys = [file.key for file in files]
    if len(set(keys)) < len(keys):
        raise ValueError(f"two files are the same part of {name}: {', '.join(str(file.path) for file in files)}")
    footprint = shapely.union_all([outline(file.grid).shape for file in files])
    item = pystac.Item(
        id=name,
        geometry=shapely.geometry.mapping(footprint),
        bbox=list(footprint.bounds),
        datetime=start,
        properties=_properties(files),
        stac_extensions=list(_EXTENSIONS),
    )
    if days is not None:
        item.common_metadata.start_datetime = start
        item.common_metadata.end_datetime = start + timedelta(days=days)
    for file in files:
        item.add_asset(file.key, _asset(file))
    return item


def _properties(files: Sequence[_File]) -> dict[str, Any]:
    """The files' own tags, as numbers where they are numbers; the first file's where they differ."""
    tags = {name: value for file in reversed(files) for name, value in file.tags.items()}
    return {name: _plain(value) for name, value in tags.items() if not name.startswith(_STRUCTURE)}


def _plain(text: str) -> str | int | float:
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        # JSON has no word for what is no finite number.
        return number if abs(number) < float("inf") else text
    return text


def _asset(file: _File) -> Asset:
    import pystac

    grid = file.grid
    crs = grid.projection.crs
    code = crs.text if crs.text.startswith("EPSG:") else None
    fields = {
        "bands": list(file.described),
        "proj:code": code,
        "proj:shape": [grid.height, grid.width],
        "proj:transform": [*grid.projection.transform, 0.0, 0.0, 1.0],
    }
    kind = pystac.MediaType.GEOTIFF if not_optimized(file.path) else pystac.MediaType.COG
    return pystac.Asset(
        str(file.path.resolve()),
        media_type=kind,
        roles=["data"],
        extra_fields=fields if code else {**fields, "proj:wkt2": crs.wkt},
    )
