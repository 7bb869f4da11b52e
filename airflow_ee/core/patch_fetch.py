"""Fetch the pixels of patches: many small requests at once, handed on in the order in which they were planned."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from airflow_ee.core.buffers import BufferPool, Lease
from airflow_ee.core.client import EarthEngineClient, PixelsCall
from airflow_ee.core.crew import Crew
from airflow_ee.core.decode import AnswerForm, decode_npy
from airflow_ee.core.errors import TOO_HUNGRY, EarthEngineError, MalformedResponse
from airflow_ee.core.expression import Expression, constant, invoke, load_image, reference, with_masks
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.plan import Tile, split_tile
from airflow_ee.core.progress import Progress
from airflow_ee.core.resources import Band

__all__ = ["ImagePixels", "PatchRequest", "PatchSource", "fetch_patches"]

Array = npt.NDArray[Any]
Content = TypeVar("Content")
BUFFER_BYTES = 256 << 20
"""Of patches that are being fetched or wait for their turn."""
CHECK_SECONDS = 0.25
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ImagePixels:
    """What an answer holds of one image."""

    values: tuple[Array, ...]
    """One array of shape (rows, columns) a band; views into the answer."""
    masks: tuple[Array, ...]
    """One uint8 array a band, 1 where the pixel is valid; none where no masks were asked for."""

    def copy(self) -> ImagePixels:
        """The same pixels in memory of their own."""
        return ImagePixels(tuple(map(np.copy, self.values)), tuple(map(np.copy, self.masks)))


@dataclass(frozen=True, kw_only=True)
class PatchSource:
    """Images, stored or computed, and what is wanted of each."""

    images: tuple[str, ...] = ()
    """Asset ids, of each of which a point has a patch; or:"""
    expression: Expression | None = None
    """one computed image."""
    bands: tuple[Band, ...]
    masked: bool = True
    """Whether validity is asked for with the pixels. Without it stored images are read by plain getPixels, and masked pixels are
    0 like any other 0."""
    min_mask: float | None = None
    """Lowest mask, a fraction of 1, that counts as valid; None: any mask above 0."""
    workload_tag: str | None = None

    def __post_init__(self) -> None:
        if bool(self.images) == (self.expression is not None):
            raise ValueError("give either images or expression")
        names = [band.id for band in self.bands]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"bands: at least one, and each at most once, got {names}")
        if self.min_mask is not None and not 0 < self.min_mask <= 1:
            raise ValueError(f"min_mask must be above 0 and at most 1, got {self.min_mask}")
        if self.min_mask is not None and not self.masked:
            raise ValueError("min_mask is only for patches with masks")

    @property
    def count(self) -> int:
        """Patches of each point."""
        return len(self.images) or 1

    @property
    def packable(self) -> bool:
        """Whether one request may carry several images: getPixels reads one."""
        return self.masked

    @functools.cached_property
    def bytes_per_pixel(self) -> int:
        """Of one image as the service counts: value bytes and one mask byte a band, mask bands included."""
        return self.form(range(1)).bytes_per_pixel

    @property
    def request_bands(self) -> int:
        """Bands of one image in a request."""
        return len(self.bands) * (2 if self.masked else 1)

    def form(self, images: range) -> AnswerForm:
        """What the answer of a request for some of the images looks like."""
        dtypes = tuple(band.dtype for band in self.bands) * len(images)
        return AnswerForm(self.names(images), dtypes, "each" if self.masked else "none")

    def size_bytes(self, request: PatchRequest) -> int:
        """Of the answer to a request, as the service counts."""
        return request.grid.pixels * len(request.images) * self.bytes_per_pixel

    def names(self, images: range) -> tuple[str, ...]:
        """Names of the bands in the answer of a request for some of the images."""
        return tuple(f"{_prefix(image, images)}{band.id}" for image in images for band in self.bands)

    def split(self, body: memoryview, grid: PixelGrid, images: range) -> list[ImagePixels]:
        """The images of an answer, as views of it.

        Raises
        ------
        MalformedResponse
            When the answer is not what was asked for.
        """
        form, count = self.form(images), len(self.bands)
        array = decode_npy(body, shape=grid.shape, bands=form.bands + form.mask_bands)
        found = []
        for first in range(0, len(form.bands), count):
            own = slice(first, first + count)
            values = tuple(_as(array[name], band) for name, band in zip(form.bands[own], self.bands, strict=True))
            found.append(ImagePixels(values, tuple(array[name] for name in form.mask_bands[own])))
        return found

    def blank(self, grid: PixelGrid) -> ImagePixels:
        """Room for the pixels of one image."""
        values = tuple(np.zeros(grid.shape, band.dtype) for band in self.bands)
        return ImagePixels(values, tuple(np.zeros(grid.shape, np.uint8) for _ in self.bands if self.masked))

    def graph(self, images: range) -> Expression | None:
        """What computePixels is asked for; None where plain getPixels serves."""
        if not self.masked:
            return self.expression
        image = self.expression or _packed(self.images, tuple(band.id for band in self.bands), images)
        form = self.form(images)
        return with_masks(image, form.bands, form.mask_bands, min_mask=self.min_mask)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchRequest:
    """One request: a rectangle that holds the patches of one point or of neighbours, of one image or of several."""

    grid: PixelGrid
    images: range
    """Indices of the images."""
    shard: int
    last: bool
    """Whether the shard needs no other request after this one."""
    points: tuple[int, ...]
    """Indices of the points."""
    corners: tuple[tuple[int, int], ...]
    """First row and column of each point's patch in the grid."""

    def __str__(self) -> str:
        rows = f"row {self.points[0] + 1}" + (f" to {self.points[-1] + 1}" if len(self.points) > 1 else "")
        return f"patch of points {rows} ({self.grid.height} rows, {self.grid.width} columns)"


def fetch_patches(
    client: EarthEngineClient,
    source: PatchSource,
    requests: Iterable[PatchRequest],
    encode: Callable[[PatchRequest, list[ImagePixels]], Content],
    consume: Callable[[PatchRequest, Content], None],
    *,
    concurrency: int,
    progress: Progress,
) -> None:
    """Fetch every request and hand each on once, in the order of ``requests``.

    Parameters
    ----------
    encode
        Makes something of the pixels of every image of a request; called in many threads and in any order. The pixels' memory is used
        again afterwards.
    consume
        Called with what ``encode`` made, in order, by one thread at a time. What it raises ends the work.
    concurrency
        Requests at once. None begins so far ahead of the first unfinished one that more than ``BUFFER_BYTES`` of pixels could wait
        between the two.

    Raises
    ------
    EarthEngineError
        The first failure that cannot be cured; the message names the points.
    """
    ask = _Asker(client, source, progress)

    def work(item: tuple[int, PatchRequest]) -> tuple[()]:
        number, request = item
        order.wait(number, source.size_bytes(request), crew.check)
        content = ask.fetch(request, encode)
        progress.finished()
        with crew.writing():
            order.put(number, request, content)
        return ()

    def check() -> None:
        client.check_not_stopped()
        progress.tell(client.pixel_gate.in_flight)

    order = _Order(BUFFER_BYTES, consume)
    crew = Crew(enumerate(requests), work, concurrency=concurrency)
    try:
        crew.run(check)
    finally:
        progress.close()


class _Order(Generic[Content]):
    """Hands things on in their order, and holds back who is too far ahead.

    Requests begin in their order, so the first unfinished one is never held back.
    """

    def __init__(self, most_bytes: int, consume: Callable[[PatchRequest, Content], None]) -> None:
        self._most_bytes = most_bytes
        self._consume = consume
        self._first = self._held_bytes = 0
        self._sizes: dict[int, int] = {}
        self._done: dict[int, tuple[PatchRequest, Content]] = {}
        self._consuming = False
        self._moved = threading.Condition()

    def wait(self, number: int, size_bytes: int, check: Callable[[], None]) -> None:
        """Wait until there is room for an answer."""
        with self._moved:
            while number > self._first and self._held_bytes + size_bytes > self._most_bytes:
                check()
                self._moved.wait(CHECK_SECONDS)
            self._sizes[number] = size_bytes
            self._held_bytes += size_bytes

    def put(self, number: int, request: PatchRequest, content: Content) -> None:
        """Hand on what is next, if it is there; if another thread does so already, leave it to that one."""
        with self._moved:
            self._done[number] = request, content
            if self._consuming:
                return
            self._consuming = True
        while (ready := self._next()) is not None:
            self._consume(*ready)

    def _next(self) -> tuple[PatchRequest, Content] | None:
        with self._moved:
            ready = self._done.pop(self._first, None)
            if ready is None:
                self._consuming = False
                return None
            self._held_bytes -= self._sizes.pop(self._first)
            self._first += 1
            self._moved.notify_all()
            return ready


class _Asker:
    """Asks for the pixels of requests, and for less at once where the service finds them too hungry."""

    def __init__(self, client: EarthEngineClient, source: PatchSource, progress: Progress) -> None:
        self._client = client
        self._source = source
        self._progress = progress
        self._pool = BufferPool(BUFFER_BYTES)
        # Points differ in their grids only: all else of a request is made once.
        self._call = functools.cache(self._new_call)

    def fetch(self, request: PatchRequest, deliver: Callable[[PatchRequest, list[ImagePixels]], Content]) -> Content:
        """What ``deliver`` makes of the pixels of every image of the request."""
        lease = Lease(self._pool, self._client.check_not_stopped)
        try:
            try:
                pixels = self._ask(request.grid, request.images, lease)
            except TOO_HUNGRY as error:
                lease.give_back()
                pixels = self._parts(request.grid, request.images, error)
        except EarthEngineError as error:
            raise type(error)(f"{request}: {error.message}", error.details, error.retry_after_seconds) from error
        else:
            return deliver(request, pixels)
        finally:
            lease.give_back()

    def _copied(self, grid: PixelGrid, images: range) -> list[ImagePixels]:
        """Pixels in memory of their own: whoever waits for more of it may hold none of the pool's."""
        lease = Lease(self._pool, self._client.check_not_stopped)
        try:
            return [pixels.copy() for pixels in self._ask(grid, images, lease)]
        except TOO_HUNGRY as error:
            lease.give_back()
            return self._parts(grid, images, error)
        finally:
            lease.give_back()

    def _parts(self, grid: PixelGrid, images: range, error: EarthEngineError) -> list[ImagePixels]:
        """What was too much at once: some of the images, then the others; of a single one, quarters of its pixels."""
        log.info("%d images of %dx%d pixels are too much at once: %s", len(images), grid.width, grid.height, error)
        half = len(images) // 2
        if half:
            self._progress.cut()
            return self._copied(grid, images[:half]) + self._copied(grid, images[half:])
        quarters = split_tile(Tile(0, 0, grid), self._client.settings.limits.floor_side)
        if not quarters:
            raise error
        self._progress.cut()
        whole = self._source.blank(grid)
        for tile in quarters:
            (part,) = self._copied(tile.grid, images)
            for here, there in zip(whole.values + whole.masks, part.values + part.masks, strict=True):
                here[tile.slices] = there
        return [whole]

    def _new_call(self, images: range) -> PixelsCall:
        source = self._source
        return self._client.pixels_call(
            asset_id=source.images[images.start] if source.images else None,
            expression=source.graph(images),
            band_ids=None if source.masked else source.names(images),
            workload_tag=source.workload_tag,
        )

    def _ask(self, grid: PixelGrid, images: range, lease: Lease) -> list[ImagePixels]:
        form = self._source.form(images)
        lease.most_bytes = form.body_bytes(grid.pixels, widest=True)
        pixels = self._client.fetch_pixels(
            self._call(images),
            grid,
            take=lease.take,
            read=lambda body: self._source.split(body, grid, images),
            attempting=lease.attempt,
        )
        self._progress.answered(lease.attempts, grid.pixels * len(images) * self._source.bytes_per_pixel)
        return pixels


def _prefix(image: int, images: range) -> str:
    """Bands of one image keep their names; those of several are told apart."""
    return f"i{image}_" if len(images) > 1 else ""


def _packed(assets: tuple[str, ...], bands: tuple[str, ...], images: range) -> Expression:
    """Several stored images as the bands of one; a single one as it is."""
    if len(images) == 1:
        return load_image(assets[images.start])
    values: dict[str, Any] = {}
    for image in images:
        loaded = invoke("Image.load", id=constant(assets[image]))
        chosen = invoke("Image.select", input=loaded, bandSelectors=constant(list(bands)))
        names = constant([f"{_prefix(image, images)}{band}" for band in bands])
        node = invoke("Image.rename", input=chosen, names=names)
        values[str(image)] = (
            node if image == images.start else invoke("Image.addBands", dstImg=reference(str(image - 1)), srcImg=node)
        )
    return Expression.parse({"result": str(images.stop - 1), "values": values})


def _as(values: Array, band: Band) -> Array:
    """Values in the type that the band was said to have: every record of a dataset has the same."""
    if values.dtype == band.dtype:
        return values
    converted = values.astype(band.dtype)
    exact = band.dtype.kind == "f" or bool((converted == values).all())
    if not exact:
        raise MalformedResponse(f"Band {band.id} is of type {band.dtype}, got {values.dtype} with other values.")
    return converted
