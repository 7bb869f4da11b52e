"""Earth Engine's REST methods, one Python method each, named as the reference names them."""

from __future__ import annotations

import functools
import itertools
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar

from google.auth.credentials import Credentials

from airflow_ee.core import wire
from airflow_ee.core.asset_methods import AssetMethods
from airflow_ee.core.batch import BatchRequest
from airflow_ee.core.errors import InvalidArgument, MalformedResponse, Stopped
from airflow_ee.core.expression import Expression
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.quota import QuotaGate
from airflow_ee.core.region import Region
from airflow_ee.core.resources import Asset, Band, Operation, check_request_id
from airflow_ee.core.retry import Retrier
from airflow_ee.core.settings import ClientSettings
from airflow_ee.core.transport import EMULATOR_HEADER, Response, Transport

__all__ = ["EarthEngineClient", "PixelsCall"]

Answer = TypeVar("Answer")
# Whether listAssets compares `endTime` with an image's beginning or its end is not documented: ask for more, then choose.
LONGEST_IMAGE = timedelta(days=400)
OPERATIONS_PAGE_SIZE = 500
ASSETS_PAGE_SIZE = 1000
# Of a filter's region, about 5 KB of URL; common servers refuse 8 KB.
FILTER_VERTICES = 100
BOX_PIECES = 20


@dataclass(frozen=True, slots=True)
class PixelsCall:
    """A pixel method, aimed at one image; only the grid is open."""

    method: str
    path: str
    template: wire.PixelsTemplate


class EarthEngineClient:
    """Talks to Earth Engine for one project; safe to use from many threads.

    Every method raises :class:`~airflow_ee.core.errors.EarthEngineError` of the class that fits; calls that failed for a
    passing reason have been repeated by then, as ``settings.retry`` says.

    Parameters
    ----------
    settings
        Project, hosts, limits.
    credentials
        ``google.auth`` credentials; None for an emulator.
    """

    def __init__(
        self,
        settings: ClientSettings,
        credentials: Credentials | None = None,
        *,
        transport: Transport | None = None,
        retrier: Retrier | None = None,
    ) -> None:
        self.settings = settings
        self._transport = transport or Transport(settings, credentials)
        self._stop = threading.Event()
        self._retrier = retrier or Retrier(settings.retry, sleep=self._sleep)
        self._emulator_kinds: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def stop(self) -> None:
        """Have every call end soon: none begins any more, none is repeated. May be called from a signal handler."""
        self._stop.set()

    def check_not_stopped(self) -> None:
        """Raise :class:`~airflow_ee.core.errors.Stopped` after :meth:`stop`."""
        if self._stop.is_set():
            raise Stopped("Told to stop.")

    @property
    def emulated(self) -> bool:
        """Whether any answer so far came from an emulator rather than the service."""
        return bool(self._emulator_kinds)

    @property
    def simulated(self) -> bool:
        """Whether any answer so far was made from an emulator's simulated imagery."""
        return "simulated" in self._emulator_kinds

    def get_pixels(
        self,
        asset_id: str,
        *,
        file_format: str,
        grid: PixelGrid | None,
        band_ids: Sequence[str] | None = None,
        visualization_options: Mapping[str, Any] | None = None,
    ) -> bytes:
        """``projects.assets.getPixels``: pixels of a stored image, in the format asked for.

        Masked pixels of NPY are 0: use :meth:`compute_pixels` with :func:`~airflow_ee.core.expression.with_masks` to
        tell them apart.
        """
        body = wire.pixels_body(
            file_format=file_format, grid=grid, band_ids=band_ids, visualization_options=visualization_options
        )
        return self._pixels("getPixels", f"{wire.asset_name(asset_id)}:getPixels", body)

    def compute_pixels(
        self,
        expression: Expression,
        *,
        file_format: str,
        grid: PixelGrid,
        band_ids: Sequence[str] | None = None,
        visualization_options: Mapping[str, Any] | None = None,
        workload_tag: str | None = None,
    ) -> bytes:
        """``projects.image.computePixels``: pixels of an expression, in the format asked for."""
        body = wire.pixels_body(
            expression=expression,
            file_format=file_format,
            grid=grid,
            band_ids=band_ids,
            visualization_options=visualization_options,
            workload_tag=workload_tag,
        )
        return self._pixels("image:computePixels", f"{self._project}/image:computePixels", body)

    def pixels_call(
        self,
        *,
        asset_id: str | None = None,
        expression: Expression | None = None,
        band_ids: Sequence[str] | None = None,
        workload_tag: str | None = None,
    ) -> PixelsCall:
        """What all NPY requests for tiles of one image have in common: a stored image's or an expression's."""
        body = wire.pixels_body(
            expression=expression, file_format="NPY", grid=None, band_ids=band_ids, workload_tag=workload_tag
        )
        template = wire.PixelsTemplate.of(body)
        if expression is not None:
            return PixelsCall("image:computePixels", f"{self._project}/image:computePixels", template)
        return PixelsCall("getPixels", f"{wire.asset_name(str(asset_id))}:getPixels", template)

    def fetch_pixels(
        self,
        call: PixelsCall,
        grid: PixelGrid,
        *,
        take: Callable[[int], memoryview],
        read: Callable[[memoryview], Answer],
        attempting: Callable[[], None] = lambda: None,
    ) -> Answer:
        """Ask for one grid and return what ``read`` makes of the answer; spoilt answers and passing failures are repeated.

        Parameters
        ----------
        take
            Gives memory for a body of so many bytes, called when the answer begins to come; raises for one that is too large.
        read
            Makes something of a whole body; raises :class:`~airflow_ee.core.errors.MalformedResponse` for a spoilt one.
        attempting
            Called before each request.
        """
        content = self._transport.checked_size(call.template.body(grid))

        def attempt() -> Answer:
            attempting()
            body, headers = self._transport.receive(
                self.settings.pixel_endpoint, call.path, content, take=take, check=self.check_not_stopped
            )
            self._note(headers)
            return read(body)

        self.check_not_stopped()
        return self._retrier.call(call.method, attempt, patient=True)

    @property
    def pixel_gate(self) -> QuotaGate:
        """What bounds pixel requests: concurrency, rate, and what became of them."""
        return self._transport.gate(self.settings.pixel_endpoint)

    def compute_value(self, expression: Expression, *, workload_tag: str | None = None) -> Any:
        """``projects.value.compute``: the JSON value of an expression."""
        body = wire.compute_body(expression, workload_tag=workload_tag)
        return self._call("value:compute", "POST", f"{self._project}/value:compute", body=body).get("result")

    def compute_bands(self, expression: Expression, *, workload_tag: str | None = None) -> tuple[Band, ...]:
        """The bands of the image that an expression gives, with their types."""
        return wire.bands_from_image_value(self.compute_value(expression, workload_tag=workload_tag))

    def compute_features(
        self, expression: Expression, *, page_size: int = 1000, workload_tag: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """``projects.table.computeFeatures``: the features of an expression as GeoJSON, page by page, in their order.

        Parameters
        ----------
        page_size
            Features asked for at once; the service may send fewer.

        Raises
        ------
        ValueError
            When ``page_size`` is below 1; before anything is sent.
        """
        pages = self.compute_feature_pages(expression, page_size=page_size, workload_tag=workload_tag)
        return itertools.chain.from_iterable(pages)

    def compute_feature_pages(
        self, expression: Expression, *, page_size: int = 1000, workload_tag: str | None = None
    ) -> Iterator[list[dict[str, Any]]]:
        """The pages of :meth:`compute_features` as they came, one request each; a page may be empty."""
        return self._computed("table:computeFeatures", "features", expression, page_size, workload_tag)

    def compute_images(
        self, expression: Expression, *, page_size: int = 1000, workload_tag: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """``projects.imageCollection.computeImages``: what the images of an expression say of themselves, without pixels.

        Each is an ``EarthEngineAsset`` of the REST reference, as it came; an image that is computed has neither ``name``
        nor ``updateTime``. Parameters and errors are those of :meth:`compute_features`.
        """
        pages = self._computed("imageCollection:computeImages", "images", expression, page_size, workload_tag)
        return itertools.chain.from_iterable(pages)

    def start_operation(self, request: BatchRequest, *, request_id: str | None = None) -> Operation:
        """``projects.image.export`` and its like: start an export or an import.

        Repeated after a passing failure only with a ``request_id``, because an answer may be lost after the operation has
        begun; the repetition may then raise :class:`~airflow_ee.core.errors.DuplicateRequest`.
        """
        if request_id is not None:
            check_request_id(request_id)
        path, repeatable = f"{self._project}/{request.method}", request_id is not None
        answer = self._call(request.method, "POST", path, body=request.body(request_id), repeatable=repeatable)
        return wire.operation_from_rest(answer)

    def get_operation(self, operation: str) -> Operation:
        """``projects.operations.get``, by full name or bare id."""
        name = wire.operation_name(self.settings.project, operation)
        return wire.operation_from_rest(self._call("operations.get", "GET", name))

    def list_operations(self) -> Iterator[Operation]:
        """``projects.operations.list``: every operation of the project, page by page."""
        pages = self._pages("operations.list", f"{self._project}/operations", {"pageSize": OPERATIONS_PAGE_SIZE})
        for page in pages:
            for value in page.get("operations", ()):
                yield wire.operation_from_rest(value)

    def cancel_operation(self, operation: str) -> None:
        """``projects.operations.cancel``: ask for it; the operation is CANCELLED only some time later."""
        name = wire.operation_name(self.settings.project, operation)
        self._call("operations.cancel", "POST", f"{name}:cancel", body={})

    def wait_operation(self, operation: str, *, timeout_seconds: float) -> Operation:
        """``projects.operations.wait``: best effort; the service may answer at once."""
        name = wire.operation_name(self.settings.project, operation)
        body = {"timeout": f"{timeout_seconds:g}s"}
        return wire.operation_from_rest(self._call("operations.wait", "POST", f"{name}:wait", body=body))

    def get_asset(self, asset_id: str) -> Asset:
        """``projects.assets.get``."""
        return wire.asset_from_rest(self._call("assets.get", "GET", wire.asset_name(asset_id)))

    @property
    def assets(self) -> AssetMethods:
        """The methods that make, change and remove assets."""
        return AssetMethods(self._call, self._pages, self._repeat)

    def list_algorithms(self) -> int:
        """``projects.algorithms.list``: how many there are; the cheapest call that needs the project to be registered."""
        return len(self._call("algorithms.list", "GET", f"{self._project}/algorithms").get("algorithms", ()))

    def list_images(
        self, collection_id: str, *, start: datetime, end: datetime, region: Region | None = None
    ) -> list[Asset]:
        """``projects.assets.listAssets`` of a collection: images that begin in ``[start, end)``, in order of time.

        Parameters
        ----------
        start, end
            Aware moments, half open, compared with an image's ``startTime``.
        region
            Only images whose footprint intersects it. The filter is part of a URL, which servers keep short: of a region
            with many vertices it holds the bounding box, and images that meet only the box come too, without one valid
            pixel in the region.
        """
        geojson = None if region is None else _short_geojson(region)
        query = {
            "pageSize": ASSETS_PAGE_SIZE,
            "view": "FULL",
            "filter": wire.list_assets_filter(start=start, end=end + LONGEST_IMAGE, region_geojson=geojson),
        }
        pages = self._pages("assets.listAssets", f"{wire.asset_name(collection_id)}:listAssets", query)
        try:
            assets = [wire.asset_from_rest(value) for page in pages for value in page.get("assets", ())]
        except InvalidArgument as error:
            # Of a collection that is not there the service says only that its filter is wrong.
            raise type(error)(f"{collection_id}: {error.message}", error.details) from error
        chosen = [asset for asset in assets if asset.start_time is not None and start <= asset.start_time < end]
        return sorted(chosen, key=lambda asset: (asset.start_time, asset.id))

    @property
    def _project(self) -> str:
        return f"projects/{self.settings.project}"

    def _sleep(self, seconds: float) -> None:
        self._stop.wait(seconds)
        self.check_not_stopped()

    def _pixels(self, method: str, path: str, body: Mapping[str, Any]) -> bytes:
        send = functools.partial(self._transport.send, "POST", self.settings.pixel_endpoint, path, body=body)
        return self._repeat(method, lambda: self._noted(send()).body)

    def _computed(
        self, method: str, field: str, expression: Expression, page_size: int, workload_tag: str | None
    ) -> Iterator[list[dict[str, Any]]]:
        if page_size < 1:
            raise ValueError(f"page_size must be at least 1, got {page_size}")
        body = wire.compute_body(expression, workload_tag=workload_tag, page_size=page_size)
        path = f"{self._project}/{method}"
        pages = _each_page(lambda token: self._call(method, "POST", path, body={**body, **token}))
        return (_objects(page, field) for page in pages)

    def _pages(self, method: str, path: str, query: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        return _each_page(lambda token: self._call(method, "GET", path, query={**query, **token}))

    def _call(
        self,
        method: str,
        verb: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        repeatable: bool = True,
    ) -> dict[str, Any]:
        """A call that answers with a JSON object; one that is spoilt on its way is asked for again."""
        send = functools.partial(self._transport.send, verb, self.settings.endpoint, path, body=body, query=query)
        return self._repeat(method, lambda: self._noted(send()).json(), repeatable=repeatable)

    def _repeat(self, method: str, function: Callable[[], Answer], *, repeatable: bool = True) -> Answer:
        self.check_not_stopped()
        return self._retrier.call(method, function, repeatable=repeatable)

    def _noted(self, response: Response) -> Response:
        self._note(response.headers)
        return response

    def _note(self, headers: Mapping[str, str]) -> None:
        kind = headers.get(EMULATOR_HEADER)
        if kind:
            self._emulator_kinds.add(kind)


def _each_page(ask: Callable[[dict[str, str]], dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Page after page until one names no next; ``ask`` is given the token's field, or none for the first."""
    seen: set[str] = set()
    token: dict[str, str] = {}
    while True:
        page = ask(token)
        yield page
        following = str(page.get("nextPageToken") or "")
        if not following:
            return
        if following in seen:
            raise MalformedResponse(f"The pages never end: the token {following[:80]!r} came a second time.")
        seen.add(following)
        token = {"pageToken": following}


def _objects(page: Mapping[str, Any], field: str) -> list[dict[str, Any]]:
    """What a page holds; the service leaves an empty list out."""
    found = page.get(field) or []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise MalformedResponse(f"Expected a list of {field}, got {str(found)[:200]}.")
    return found


def _short_geojson(region: Region) -> str:
    import shapely

    if shapely.get_num_coordinates(region.geometry) > FILTER_VERTICES:
        west, south, east, north = region.geometry.bounds
        box = shapely.box(west, south, east, north)
        # The service may take edges for great circles; long ones would leave part of the region outside.
        region = Region(shapely.segmentize(box, max(east - west, north - south) / BOX_PIECES))
    return json.dumps(region.to_geojson(), separators=(",", ":"))
