"""Earth Engine's REST methods, one Python method each, named as the reference names them."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar

from google.auth.credentials import Credentials

from airflow_ee.core import wire
from airflow_ee.core.errors import InvalidArgument, Stopped
from airflow_ee.core.expression import Expression
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.region import Region
from airflow_ee.core.resources import Asset, Band, ExportImageRequest, Operation, check_request_id
from airflow_ee.core.retry import Retrier
from airflow_ee.core.settings import ClientSettings
from airflow_ee.core.transport import EMULATOR_HEADER, Response, Transport

__all__ = ["EarthEngineClient"]

Answer = TypeVar("Answer")
# Whether listAssets compares `endTime` with an image's beginning or its end is not documented: ask for more, then choose.
LONGEST_IMAGE = timedelta(days=400)
OPERATIONS_PAGE_SIZE = 500
ASSETS_PAGE_SIZE = 1000
# Of a filter's region, about 5 KB of URL; common servers refuse 8 KB.
FILTER_VERTICES = 100
BOX_PIECES = 20


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

    def compute_value(self, expression: Expression, *, workload_tag: str | None = None) -> Any:
        """``projects.value.compute``: the JSON value of an expression."""
        body = {"expression": expression.graph, **({"workloadTag": workload_tag} if workload_tag else {})}
        return self._call("value:compute", "POST", f"{self._project}/value:compute", body=body).get("result")

    def compute_bands(self, expression: Expression, *, workload_tag: str | None = None) -> tuple[Band, ...]:
        """The bands of the image that an expression gives, with their types."""
        return wire.bands_from_image_value(self.compute_value(expression, workload_tag=workload_tag))

    def export_image(self, request: ExportImageRequest, *, request_id: str | None = None) -> Operation:
        """``projects.image.export``: start an export.

        Repeated after a passing failure only with a ``request_id``, because an answer may be lost after the export has
        begun; the repetition may then raise :class:`~airflow_ee.core.errors.DuplicateRequest`.
        """
        if request_id is not None:
            check_request_id(request_id)
        body = wire.export_image_body(request, request_id)
        answer = self._call(
            "image:export", "POST", f"{self._project}/image:export", body=body, repeatable=request_id is not None
        )
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

    def _pages(self, method: str, path: str, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
        token: str | None = None
        while True:
            page = self._call(method, "GET", path, query={**query, **({"pageToken": token} if token else {})})
            yield page
            token = page.get("nextPageToken")
            if not token:
                return

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
        kind = response.headers.get(EMULATOR_HEADER)
        if kind:
            self._emulator_kinds.add(kind)
        return response


def _short_geojson(region: Region) -> str:
    import shapely

    if shapely.get_num_coordinates(region.geometry) > FILTER_VERTICES:
        west, south, east, north = region.geometry.bounds
        box = shapely.box(west, south, east, north)
        # The service may take edges for great circles; long ones would leave part of the region outside.
        region = Region(shapely.segmentize(box, max(east - west, north - south) / BOX_PIECES))
    return json.dumps(region.to_geojson(), separators=(",", ":"))
