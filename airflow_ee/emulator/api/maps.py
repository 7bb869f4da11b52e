"""Map tiles: 256 pixels of web Mercator, at any zoom."""

from __future__ import annotations

from airflow_ee.emulator.api.calls import Answer, Call
from airflow_ee.emulator.api.pictures import PICTURES, expression_image, pictured
from airflow_ee.emulator.errors import field_violation, invalid
from airflow_ee.emulator.pixels.crs import parse_crs
from airflow_ee.emulator.pixels.formats import to_picture
from airflow_ee.emulator.pixels.grid import Grid, Projection
from airflow_ee.emulator.pixels.raster import render
from airflow_ee.emulator.session import Session

TILE_SIDE = 256
MAX_ZOOM = 24
HALF_WORLD_METRES = 20037508.342789244
"""Half of the equator of web Mercator's sphere."""


def check_map(call: Call, session: Session) -> Answer:
    """Refuse a map whose tiles could not be made."""
    kind = call.body.get("fileFormat", PICTURES[0])
    if kind not in PICTURES:
        raise field_violation("file_format", f"Unsupported file format for map tiles: {kind}.")
    pictured(expression_image(call, session), call.body.get("visualizationOptions"))
    return Answer({}, session.marker)


def get_tile(call: Call, session: Session) -> Answer:
    """One tile of a map."""
    zoom, column, row = (_whole(call.path[name], name) for name in ("zoom", "x", "y"))
    grid = tile_grid(zoom, column, row)
    image = pictured(expression_image(call, session), call.body.get("visualizationOptions"))
    call.check_size(TILE_SIDE * TILE_SIDE)
    rasters = render([band.node for band in image.bands], grid)
    content, content_type = to_picture(rasters, grid, call.body.get("fileFormat", PICTURES[0]))
    return Answer(content, session.marker, content_type)


def tile_grid(zoom: int, column: int, row: int) -> Grid:
    """The pixels of a tile; all tiles of a zoom are windows of one lattice, so they join without a seam.

    >>> tile_grid(0, 0, 0).bounds[0]
    -20037508.342789244
    """
    tiles = 2**zoom if 0 <= zoom <= MAX_ZOOM else 0
    if not (0 <= column < tiles and 0 <= row < tiles):
        raise invalid(
            f"Tile {zoom}/{column}/{row} does not exist: zoom must be at most {MAX_ZOOM}, x and y below 2^zoom."
        )
    step = 2 * HALF_WORLD_METRES / (TILE_SIDE * tiles)
    lattice = Projection(parse_crs("EPSG:3857"), (step, 0.0, -HALF_WORLD_METRES, 0.0, -step, HALF_WORLD_METRES))
    return Grid(lattice, row=row * TILE_SIDE, col=column * TILE_SIDE, height=TILE_SIDE, width=TILE_SIDE)


def _whole(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise field_violation(name, f"Invalid value at '{name}' (TYPE_INT32), \"{text[:100]}\"")
    return int(text)
