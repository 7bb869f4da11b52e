"""Fill a canvas: what is asked for, cut into tiles, fetched, decoded and put in place."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass

import numpy as np

from airflow_ee import __version__
from airflow_ee.core import wire
from airflow_ee.core.canvas import Canvas
from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.decode import PixelBlock, decode_npy, split_masks
from airflow_ee.core.errors import MalformedResponse, PermissionDenied
from airflow_ee.core.expression import Expression, load_image, with_masks
from airflow_ee.core.fetch import fetch_tiles
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.plan import Tile, plan_tiles
from airflow_ee.core.resources import Band

__all__ = ["PixelSource", "check_request", "fetch_canvas", "provenance_tags", "request_digest"]

MASK_SUFFIX = "__valid"
MALFORMED_ATTEMPTS = 3
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelSource:
    """An image, stored or computed, and what is wanted of it."""

    asset_id: str | None = None
    """A stored image; or:"""
    expression: Expression | None = None
    """a computed one."""
    bands: tuple[Band, ...]
    masked: bool = True
    """Whether validity is asked for with the pixels. Without it a stored image is read by plain getPixels, and masked
    pixels are 0 like any other 0."""
    min_mask: float | None = None
    """Lowest mask, a fraction of 1, that counts as valid; None: any mask above 0."""
    workload_tag: str | None = None

    def __post_init__(self) -> None:
        if (self.asset_id is None) == (self.expression is None):
            raise ValueError("a pixel source is either an asset or an expression")
        if not self.bands:
            raise ValueError("bands: at least one band is needed")
        names = self.names
        if len(set(names)) != len(names):
            raise ValueError(f"bands: each band at most once, got {list(names)}")
        if self.min_mask is not None and not 0 < self.min_mask <= 1:
            raise ValueError(f"min_mask must be above 0 and at most 1, got {self.min_mask}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the bands, in order."""
        return tuple(band.id for band in self.bands)

    @property
    def bytes_per_pixel(self) -> int:
        """As the service counts: value bytes and one mask byte a band, mask bands included."""
        return sum(band.dtype.itemsize + 1 for band in self.bands) + (2 * len(self.bands) if self.masked else 0)

    @property
    def graph(self) -> Expression | None:
        """What computePixels is asked for; None where plain getPixels serves."""
        if not self.masked:
            return self.expression
        image = self.expression or load_image(str(self.asset_id))
        return with_masks(image, self.names, suffix=MASK_SUFFIX, min_mask=self.min_mask)


def check_request(client: EarthEngineClient, source: PixelSource, grid: PixelGrid, max_pixels: int | None) -> None:
    """Refuse what could only fail, before any pixel is asked for.

    Raises
    ------
    ValueError
        Too many pixels for ``max_pixels``, or too many bands for one request.
    """
    grid.check_sides()
    if max_pixels is not None and grid.pixels > max_pixels:
        raise ValueError(
            f"max_pixels: the grid has {grid.pixels} pixels ({grid.width}x{grid.height}), more than {max_pixels}; "
            "choose a larger scale or a smaller region, or raise max_pixels"
        )
    count = len(source.bands) * (2 if source.masked else 1)
    if count > client.settings.limits.max_bands:
        masks = ", mask bands included" if source.masked else ""
        raise ValueError(
            f"bands: {count} bands{masks}, a request may have {client.settings.limits.max_bands}; ask for fewer at once"
        )


def fetch_canvas(
    client: EarthEngineClient, source: PixelSource, canvas: Canvas, *, max_concurrency: int | None = None
) -> int:
    """Fetch every pixel of the canvas's grid; tells the number of tiles.

    Raises
    ------
    EarthEngineError
        The first failure that cannot be cured; the message names the tile.
    """
    limits = client.settings.limits
    concurrency = min(max_concurrency or client.settings.max_concurrency, client.settings.max_concurrency)
    graph = source.graph
    tiles = plan_tiles(canvas.grid, bytes_per_pixel=source.bytes_per_pixel, limits=limits)
    count = 0
    for tile, block in fetch_tiles(
        tiles,
        lambda tile: _fetch_tile(client, source, graph, tile),
        concurrency=concurrency,
        floor_side=limits.floor_side,
        check=client.check_not_stopped,
    ):
        canvas.put(tile, block)
        count += 1
    return count


def provenance_tags(source: PixelSource, grid: PixelGrid, client: EarthEngineClient) -> dict[str, str]:
    """Where a file's pixels come from, as GeoTIFF tags."""
    tags = {
        "source": source.asset_id or "expression",
        "request_digest": request_digest(source, grid),
        "software": f"airflow-ee {__version__}",
    }
    return {**tags, **({"simulated": "true"} if client.simulated else {})}


def request_digest(source: PixelSource, grid: PixelGrid) -> str:
    """SHA-256 of what was asked for: image, bands, masks, grid."""
    asked = {
        "image": source.asset_id or (source.expression.digest if source.expression else None),
        "bands": source.names,
        "masked": source.masked,
        "min_mask": source.min_mask,
        "grid": wire.grid_to_rest(grid),
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _fetch_tile(client: EarthEngineClient, source: PixelSource, graph: Expression | None, tile: Tile) -> PixelBlock:
    """A tile's pixels; an answer that is no such pixels is asked for again, as proxies and networks spoil one at times."""
    for attempt in range(1, MALFORMED_ATTEMPTS + 1):
        try:
            return _ask_for_tile(client, source, graph, tile)
        except MalformedResponse as error:
            if attempt == MALFORMED_ATTEMPTS:
                raise
            log.warning("%s came spoilt (attempt %d): %s", tile, attempt, error)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _ask_for_tile(client: EarthEngineClient, source: PixelSource, graph: Expression | None, tile: Tile) -> PixelBlock:
    if graph is None:
        body = client.get_pixels(str(source.asset_id), file_format="NPY", grid=tile.grid, band_ids=source.names)
    else:
        body = _compute(client, source, graph, tile)
    names = source.names + (tuple(name + MASK_SUFFIX for name in source.names) if source.masked else ())
    array = decode_npy(body, shape=tile.grid.shape, bands=names)
    if source.masked:
        return split_masks(array, source.names, MASK_SUFFIX)
    everywhere = np.ones(tile.grid.shape, bool)
    return PixelBlock(source.names, tuple(array[name] for name in source.names), (everywhere,) * len(source.names))


def _compute(client: EarthEngineClient, source: PixelSource, graph: Expression, tile: Tile) -> bytes:
    # Without masks the graph is the user's own, and the wanted bands have to be named.
    band_ids = None if source.masked else source.names
    try:
        return client.compute_pixels(
            graph, file_format="NPY", grid=tile.grid, band_ids=band_ids, workload_tag=source.workload_tag
        )
    except PermissionDenied as error:
        if source.asset_id is not None and "earthengine.computations.create" in error.message:
            advice = (
                " Masks are read by computePixels, which needs this permission (roles/earthengine.writer or "
                "roles/earthengine.viewer with computations); grant it, or use mask='none' where masked pixels may be 0."
            )
            raise PermissionDenied(error.message + advice, error.details) from error
        raise
