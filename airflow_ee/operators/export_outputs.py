"""What an export has left: the objects behind its prefix, a list of all of them, and whether they are what was asked for."""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_ee.core.errors import OperationFailed
from airflow_ee.hooks.locations import location

if TYPE_CHECKING:
    from airflow_ee.core.destination import Destination
    from airflow_ee.core.grid import PixelGrid
    from airflow_ee.core.resources import Operation
    from airflow_ee.core.sinks.base import Location

__all__ = [
    "StoredObject",
    "check_objects",
    "check_rasters",
    "find_objects",
    "storage_is_reachable",
    "write_manifest",
    "write_stac_item",
]

# What the service puts behind a prefix: a number of the piece, or two; an ending. Other exports' prefixes may begin with this one's.
_BEHIND_PREFIX = re.compile(r"(?:-\d{5}|-\d{10}-\d{10}|-mixer)?\.[a-z0-9.]+|/.+")
# Of clocks of the service and of the storage.
CLOCK_SLACK = timedelta(minutes=1)
# Rasters may lie off the grid by rounding of their own numbers only.
TOLERANCE_PIXELS = 1e-3


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object in Cloud Storage."""

    uri: str
    bytes: int


def storage_is_reachable(*, emulated: bool) -> bool:
    """Whether objects of an export can be seen: those of a local Earth Engine are, where it has a local storage behind it."""
    return not emulated or bool(os.environ.get("STORAGE_EMULATOR_HOST"))


def find_objects(destination: Destination, operation: Operation, conn_id: str | None) -> list[StoredObject]:
    """The objects that an operation has written behind its prefix, by name.

    :param destination: In Cloud Storage.
    :param operation: Older objects than its beginning are another one's.
    :param conn_id: Airflow connection of the bucket.
    """
    place = location(destination.uri, conn_id)
    since = None if operation.start_time is None else datetime.fromisoformat(operation.start_time) - CLOCK_SLACK
    place.filesystem.invalidate_cache()
    listed = place.filesystem.find(posixpath.dirname(place.path), detail=True)
    return [
        StoredObject(f"gs://{path}", int(info.get("size") or 0))
        for path, info in sorted(listed.items())
        if path.startswith(place.path)
        and _BEHIND_PREFIX.fullmatch(path[len(place.path) :])
        and (since is None or (written := _written(info)) is None or written >= since)
    ]


def write_manifest(
    destination: Destination, operation: Operation, objects: Sequence[StoredObject], conn_id: str | None
) -> str:
    """Write the names of all objects beside them; gives the list's URI.

    :param destination: In Cloud Storage.
    :param operation: What has written them.
    :param objects: All of them.
    :param conn_id: Airflow connection of the bucket.
    """
    place = location(destination.uri, conn_id).with_suffix(".manifest.json")
    told = {
        "operation": operation.name,
        "description": operation.description,
        "objects": [{"uri": item.uri, "bytes": item.bytes} for item in objects],
    }
    place.write_bytes(json.dumps(told, sort_keys=True).encode())
    return place.url


def check_objects(objects: Sequence[StoredObject], destination: Destination, operation: Operation) -> None:
    """Refuse an export that has left nothing, or empty files.

    :raises OperationFailed: Naming what is wrong.
    """
    if not objects:
        raise OperationFailed(f"{operation.name} has succeeded, and nothing is there behind {destination.uri}.")
    empty = [item.uri for item in objects if item.bytes == 0]
    if empty:
        raise OperationFailed(f"{operation.name} has left {len(empty)} empty files, {empty[0]} for example.")


def check_rasters(
    objects: Sequence[StoredObject], grid: PixelGrid, operation: Operation, conn_id: str | None, *, complete: bool
) -> None:
    """Refuse GeoTIFFs that do not open, or that are not pieces of the grid which was asked for.

    :param objects: All pieces.
    :param grid: The grid of the whole.
    :param operation: What has written them.
    :param conn_id: Airflow connection of the bucket.
    :param complete: Whether the pieces have to cover the grid.
    :raises OperationFailed: Naming the file and what is wrong with it.
    """
    covered = 0
    for item in objects:
        covered += _pixels_on_grid(location(item.uri, conn_id), item.uri, grid, operation)
    if complete and covered != grid.pixels:
        raise OperationFailed(
            f"{operation.name} was asked for {grid.width} x {grid.height} pixels, and its {len(objects)} files have {covered} in all."
        )


def write_stac_item(
    destination: Destination,
    objects: Sequence[StoredObject],
    grid: PixelGrid,
    interval: tuple[datetime, datetime],
    conn_id: str | None,
    tags: Mapping[str, str],
) -> None:
    """Write a STAC item beside the GeoTIFFs of an export; bands are as the first of them has them.

    :param destination: In Cloud Storage.
    :param objects: All pieces.
    :param grid: The grid of the whole.
    :param interval: The time that the pixels are from.
    :param conn_id: Airflow connection of the bucket.
    :param tags: Where they come from.
    """
    import numpy as np
    import rasterio

    from airflow_ee.core.sinks.layout import COG_MEDIA_TYPE, BandLayout, RasterLayout
    from airflow_ee.core.sinks.stac import StacItem

    first, *others = (posixpath.basename(item.uri) for item in objects)
    place = location(objects[0].uri, conn_id)
    with place.filesystem.open(place.path, "rb") as content, rasterio.open(content) as file:
        names = [name or f"band_{number}" for number, name in enumerate(file.descriptions, 1)]
        bands = tuple(
            BandLayout(name=name, dtype=np.dtype(dtype), scale=scale, offset=offset)
            for name, dtype, scale, offset in zip(names, file.dtypes, file.scales, file.offsets, strict=True)
        )
        nodata = {} if file.nodata is None else dict.fromkeys(names, file.nodata)
    StacItem(
        id=posixpath.basename(destination.prefix),
        layout=RasterLayout(grid=grid, bands=bands, tags=tags),
        href=first,
        more_hrefs=tuple(others),
        media_type=COG_MEDIA_TYPE,
        start=interval[0],
        end=interval[1],
        nodata=nodata,
    ).write(location(destination.uri, conn_id).with_suffix(".stac.json"))


def _pixels_on_grid(place: Location, uri: str, grid: PixelGrid, operation: Operation) -> int:
    import numpy as np
    import rasterio
    import rasterio.errors

    from airflow_ee.core.grid import parse_crs

    try:
        with place.filesystem.open(place.path, "rb") as content, rasterio.open(content) as file:
            crs, transform, height, width = file.crs, file.transform, file.height, file.width
    except (OSError, rasterio.errors.RasterioError) as problem:
        raise OperationFailed(
            f"{operation.name} has left {uri}, which does not open as a GeoTIFF: {problem}"
        ) from problem
    if crs is None or not parse_crs(crs.to_wkt()).equals(parse_crs(grid.crs), ignore_axis_order=True):
        raise OperationFailed(f"{operation.name} has left {uri} in {crs}, and was asked for {grid.crs}.")
    # From the piece's pixels to the whole's: on the same lattice only a shift by whole pixels is left.
    step = np.linalg.solve(_matrix(grid.transform), _matrix(tuple(transform)[:6]))
    col, row = (round(step[0, 2]), round(step[1, 2]))
    inside = 0 <= col <= grid.width - width and 0 <= row <= grid.height - height
    corners = np.array([[0, width, 0], [0, 0, height], [1, 1, 1]])
    off = np.abs(step @ corners - corners - [[col], [row], [0]]).max()
    if off > TOLERANCE_PIXELS or not inside:
        raise OperationFailed(
            f"{operation.name} has left {uri} on the grid {tuple(transform)[:6]}, {width} x {height}, which is no piece of "
            f"{grid.transform}, {grid.width} x {grid.height}."
        )
    return int(width * height)


def _matrix(transform: Sequence[float]) -> Any:
    return [list(transform[:3]), list(transform[3:6]), [0, 0, 1]]


def _written(info: dict[str, Any]) -> datetime | None:
    """When an object was written, where the storage tells."""
    told = info.get("updated") or info.get("timeCreated")
    return None if told is None else datetime.fromisoformat(str(told))
