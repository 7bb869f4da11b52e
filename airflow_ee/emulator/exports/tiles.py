"""Exported map tiles: pictures of 256 pixels named zoom/x/y, in web Mercator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import floor, log2
from pathlib import Path
from typing import Any

from airflow_ee.emulator.api.grids import base_band
from airflow_ee.emulator.api.maps import HALF_WORLD_METRES, MAX_ZOOM, TILE_SIDE, tile_grid
from airflow_ee.emulator.api.pictures import PICTURES, pictured
from airflow_ee.emulator.errors import field_violation, invalid
from airflow_ee.emulator.exports.destinations import FilePlace, file_place
from airflow_ee.emulator.exports.drafts import Draft, Progress
from airflow_ee.emulator.pixels.crs import WGS84, parse_crs
from airflow_ee.emulator.pixels.formats import to_picture
from airflow_ee.emulator.pixels.raster import render
from airflow_ee.emulator.values.geometry import box
from airflow_ee.emulator.values.image import Image

MAX_TILES = 100_000
_EDGE = 85.0511287798066
"""The latitude at which the square world of web Mercator ends."""

_NOT_EMULATED = ("stride", "zoomSubset", "dimensions", "tileDimensions")


@dataclass(frozen=True, slots=True)
class TileTask:
    """A pyramid of map tiles, into Cloud Storage."""

    place: FilePlace
    file_format: str
    first_zoom: int
    last_zoom: int | None
    """None: as fine as the image's own pixels."""
    skip_empty: bool


def tile_task(body: Mapping[str, Any], description: str) -> TileTask:
    """The task that a request's options describe."""
    options, export = body.get("tileOptions", {}), body.get("tileExportOptions", {})
    for name in _NOT_EMULATED:
        if options.get(name):
            raise invalid(f"Tile option {name} is not emulated")
    if "driveDestination" in export:
        raise field_violation(
            "tile_export_options.drive_destination", "Map tiles can only be exported to Cloud Storage."
        )
    kind = export.get("fileFormat", PICTURES[0])
    if kind not in PICTURES:
        raise field_violation("tile_export_options.file_format", f"Unsupported file format for map tiles: {kind}.")
    place = file_place(_without_slash(export), description, "tile_export_options")
    first = int(options.get("startZoom", options.get("minZoom", 0)))
    last = _last_zoom(options)
    if not 0 <= first <= (MAX_ZOOM if last is None else last) <= MAX_ZOOM:
        raise field_violation("tile_options", f"Zoom levels must be in 0..{MAX_ZOOM} and rise, got {first} to {last}.")
    skip = bool(options.get("skipEmpty", options.get("skipEmptyTiles", False)))
    folder = FilePlace(place.service, place.container, f"{place.prefix}/")
    return TileTask(folder, kind, first, last, skip)


def _without_slash(export: Mapping[str, Any]) -> dict[str, Any]:
    """A slash at the end of the path is optional."""
    named = ("cloudStorageDestination", "gcsDestination")
    return {
        key: {**value, "filenamePrefix": value.get("filenamePrefix", "").removesuffix("/")} if key in named else value
        for key, value in export.items()
    }


def _last_zoom(options: Mapping[str, Any]) -> int | None:
    for name in ("endZoom", "maxZoom"):
        if name in options:
            return int(options[name])
    return zoom_of(float(options["scale"])) if options.get("scale") else None


def zoom_of(scale: float) -> int:
    """The zoom whose pixels are nearest to so many metres at the equator.

    >>> zoom_of(30), zoom_of(611)
    (12, 8)
    """
    if scale <= 0:
        raise field_violation("tile_options.scale", f"Scale must be positive, got {scale}.")
    return min(MAX_ZOOM, max(0, round(log2(2 * HALF_WORLD_METRES / TILE_SIDE / scale))))


def write_tiles(image: Image, task: TileTask, folder: Path, progress: Progress) -> list[Draft]:
    """The tiles that the image's footprint touches, as drafts in ``folder``."""
    shown = pictured(image, None)
    wanted = tiles(image, task)
    drafts = []
    for number, (zoom, column, row) in enumerate(wanted, start=1):
        grid = tile_grid(zoom, column, row)
        rasters = render([band.node for band in shown.bands], grid)
        if not task.skip_empty or any((raster.mask > 0).any() for raster in rasters):
            content, content_type = to_picture(rasters, grid, task.file_format)
            path = folder / f"{zoom}-{column}-{row}"
            path.write_bytes(content)
            drafts.append(Draft(path, f"{zoom}/{column}/{row}", content_type))
        progress(number / len(wanted))
    return drafts


def tiles(image: Image, task: TileTask) -> list[tuple[int, int, int]]:
    """Zoom, column and row of each tile, the coarsest first."""
    found: list[tuple[int, int, int]] = []
    for zoom in range(task.first_zoom, _finest(image, task) + 1):
        found += _touched(image, zoom, MAX_TILES - len(found))
    return found


def _finest(image: Image, task: TileTask) -> int:
    if task.last_zoom is not None:
        return task.last_zoom
    base = base_band(image.bands)
    if base is None:
        raise invalid("Tile options must specify an end zoom or a scale: the image has no fixed projection.")
    return max(task.first_zoom, zoom_of(base.projection.nominal_scale))


def _touched(image: Image, zoom: int, allowed: int) -> Iterator[tuple[int, int, int]]:
    west, south, east, north = image.geometry().bounds_in(WGS84)
    inside = box((west, max(south, -_EDGE), east, min(north, _EDGE)))
    left, bottom, right, top = inside.bounds_in(parse_crs("EPSG:3857"))
    side = 2 * HALF_WORLD_METRES / 2**zoom
    columns = range(_index(left, side), _index(right, side, after=True))
    rows = range(_index(-top, side), _index(-bottom, side, after=True))
    if len(columns) * len(rows) > allowed:
        raise invalid(f"Export of more than {MAX_TILES} map tiles is not emulated")
    return ((zoom, column, row) for row in rows for column in columns)


def _index(metres: float, side: float, *, after: bool = False) -> int:
    """The tile that a coordinate falls into; the one after the last that it reaches, if it is a far edge."""
    place = (metres + HALF_WORLD_METRES) / side
    count = round(2 * HALF_WORLD_METRES / side)
    index = -floor(-place + 1e-9) if after else floor(place + 1e-9)
    return min(max(index, 1 if after else 0), count if after else count - 1)
