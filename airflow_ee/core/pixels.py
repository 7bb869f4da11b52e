"""Fill a canvas: what is asked for, cut into tiles, fetched, decoded and put in place."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from airflow_ee import __version__
from airflow_ee.core import wire
from airflow_ee.core.canvas import Canvas
from airflow_ee.core.client import EarthEngineClient, PixelsCall
from airflow_ee.core.decode import AnswerForm, MaskKind, PixelBlock
from airflow_ee.core.errors import OtherTypes, PermissionDenied
from airflow_ee.core.expression import Expression, load_image, resample, with_masks
from airflow_ee.core.fetch import PixelFetcher, TileRequest
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.plan import Tile, plan_tiles
from airflow_ee.core.resources import Band

__all__ = [
    "PixelSource",
    "advising",
    "check_request",
    "fetch_canvas",
    "fetch_image",
    "provenance_tags",
    "request_digest",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelSource:
    """An image, stored or computed, and what is wanted of it."""

    asset_id: str | None = None
    """A stored image; or:"""
    expression: Expression | None = None
    """a computed one."""
    bands: tuple[Band, ...]
    masks: MaskKind = "each"
    """How validity is asked for with the pixels. With ``none`` a stored image is read by plain getPixels, and masked pixels are 0
    like any other 0; ``shared`` is for bands that are known to be masked alike."""
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
    def masked(self) -> bool:
        """Whether validity is asked for."""
        return self.masks != "none"

    @property
    def form(self) -> AnswerForm:
        """What answers have to look like."""
        return AnswerForm(self.names, tuple(band.dtype for band in self.bands), self.masks)

    @property
    def bytes_per_pixel(self) -> int:
        """As the service counts: value bytes and one mask byte a band, mask bands included."""
        return self.form.bytes_per_pixel

    @property
    def graph(self) -> Expression | None:
        """What computePixels is asked for; None where plain getPixels serves."""
        if not self.masked:
            return self.expression
        image = self.expression or load_image(str(self.asset_id))
        fraction = self.masks == "fraction"
        return with_masks(image, self.names, self.form.mask_bands, fraction=fraction, min_mask=self.min_mask)

    def call(self, client: EarthEngineClient) -> PixelsCall:
        """What the requests for all tiles have in common."""
        # Without masks the graph is the user's own, and the wanted bands have to be named.
        band_ids = None if self.masked else self.names
        return client.pixels_call(
            asset_id=self.asset_id, expression=self.graph, band_ids=band_ids, workload_tag=self.workload_tag
        )

    def resampled(self, method: str) -> PixelSource:
        """The same source read between pixels by ``bilinear`` or ``bicubic``, which computes it; ``nearest``: as it is.

        Raises
        ------
        ValueError
            When ``method`` is none of these.
        """
        image = self.expression or load_image(str(self.asset_id))
        smooth = resample(image, self.names, method)
        return self if smooth == image else replace(self, asset_id=None, expression=smooth)

    def retyped(self, types: Sequence[str]) -> PixelSource:
        """The same source with other types of its bands."""
        bands = zip(self.bands, types, strict=True)
        return replace(self, bands=tuple(replace(band, dtype=np.dtype(name)) for band, name in bands))


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
    count = len(source.bands) + len(source.form.mask_bands)
    if count > client.settings.limits.max_bands:
        masks = ", mask bands included" if source.masked else ""
        raise ValueError(
            f"bands: {count} bands{masks}, a request may have {client.settings.limits.max_bands}; ask for fewer at once"
        )


def fetch_canvas(fetcher: PixelFetcher, source: PixelSource, canvas: Canvas) -> None:
    """Fetch every pixel of the canvas's grid.

    Raises
    ------
    EarthEngineError
        The first failure that cannot be cured; the message names the tile.
    """
    fetch_image(fetcher, source, canvas.grid, lambda tile, block, _: canvas.put(tile, block))


def fetch_image(
    fetcher: PixelFetcher,
    source: PixelSource,
    grid: PixelGrid,
    deliver: Callable[[Tile, PixelBlock, int], None],
) -> PixelSource:
    """Fetch an image over a grid, tile by tile; gives the source with the types that its pixels really have.

    Types are taken from metadata, so that files can be laid out before the first pixel comes. Where the service's pixels are of
    other types than it announced, these are taken, as long as no tile has been handed over.

    Parameters
    ----------
    deliver
        Called from many threads with a tile, its pixels, and the number of requests that it took.

    Raises
    ------
    EarthEngineError
        The first failure that cannot be cured; the message names the tile.
    """
    call, form = source.call(fetcher.client), source.form
    tiles = plan_tiles(grid, bytes_per_pixel=form.bytes_per_pixel, limits=fetcher.client.settings.limits)
    delivered = threading.Event()

    def hand_over(request: TileRequest[None], block: PixelBlock, attempts: int) -> None:
        delivered.set()
        deliver(request.tile, block, attempts)

    try:
        with advising(source):
            fetcher.run((TileRequest(call, form, tile, None) for tile in tiles), hand_over)
    except OtherTypes as error:
        # Of the right bands but the wrong masks no image can be made.
        if delivered.is_set() or error.details[0]["types"] == [band.dtype.name for band in source.bands]:
            raise
        log.warning("%s", error.message)
        return fetch_image(fetcher, source.retyped(error.details[0]["types"]), grid, deliver)
    return source


@contextmanager
def advising(source: PixelSource) -> Iterator[None]:
    """Add to a refusal what can be done about it."""
    try:
        yield
    except PermissionDenied as error:
        if source.asset_id is not None and "earthengine.computations.create" in error.message:
            advice = (
                " Masks are read by computePixels, which needs this permission (roles/earthengine.writer or "
                "roles/earthengine.viewer with computations); grant it, or use mask='none' where masked pixels may be 0."
            )
            raise PermissionDenied(error.message + advice, error.details) from error
        raise


def provenance_tags(source: PixelSource, grid: PixelGrid, *, simulated: bool) -> dict[str, str]:
    """Where a file's pixels come from, as GeoTIFF tags."""
    tags = {
        "source": source.asset_id or "expression",
        "request_digest": request_digest(source, grid),
        "software": f"airflow-ee {__version__}",
    }
    return {**tags, **({"simulated": "true"} if simulated else {})}


def request_digest(source: PixelSource, grid: PixelGrid) -> str:
    """SHA-256 of what was asked for: image, bands, masks, grid."""
    asked = {
        "image": source.asset_id or (source.expression.digest if source.expression else None),
        "bands": source.names,
        "masks": source.masks,
        "min_mask": source.min_mask,
        "grid": wire.grid_to_rest(grid),
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
