"""The emulator as one object: a server with a catalogue, an evaluator and a state that a test can look at."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from airflow_ee.emulator.api import assets, discovery, pixels, values
from airflow_ee.emulator.api.calls import Answer, Call
from airflow_ee.emulator.catalog import modis
from airflow_ee.emulator.catalog.assets import CollectionAsset
from airflow_ee.emulator.catalog.catalog import Catalog
from airflow_ee.emulator.catalog.modis import SimulatedModis
from airflow_ee.emulator.catalog.mounts import Mount, MountedCollection
from airflow_ee.emulator.catalog.sentinel2 import SimulatedSentinel2
from airflow_ee.emulator.catalog.store import AssetStore
from airflow_ee.emulator.clock import Clock, SystemClock
from airflow_ee.emulator.functions import registry
from airflow_ee.emulator.http.app import Application, Handler
from airflow_ee.emulator.http.journal import RecordedRequest
from airflow_ee.emulator.http.server import Connections, Server
from airflow_ee.emulator.session import Session

_METHODS: dict[str, Callable[[Call, Session], Answer]] = {
    "algorithms.list": discovery.list_algorithms,
    "assets.get": assets.get_asset,
    "assets.listAssets": assets.list_assets,
    "assets.listImages": assets.list_images,
    "getPixels": pixels.get_pixels,
    "image:computePixels": pixels.compute_pixels,
    "value:compute": values.compute_value,
}


class Emulator:
    """A local Earth Engine on a real socket."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        root: Path | str | None = None,
        catalogs: Mapping[str, Path | str] | Iterable[str] = (),
        clock: Clock | None = None,
    ) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="earth-engine-") if root is None else None
        self.root = Path(self._scratch.name if self._scratch else root or "")
        self.clock = clock or SystemClock()
        collections = [*_mounted(catalogs), SimulatedModis(self.clock), SimulatedSentinel2(self.clock)]
        self.catalog = Catalog(collections, AssetStore(self.root / "assets"))
        connections = Connections()
        self._app = Application(self._handlers(), state=self.state, abort=connections.abort)
        self._server = Server(self._app, connections, host=host, port=port)

    def _handlers(self) -> dict[str, Handler]:
        def bound(method: Callable[[Call, Session], Answer]) -> Handler:
            return lambda call: method(call, Session(self.catalog, registry, self.clock.now()))

        return {name: bound(method) for name, method in _METHODS.items()}

    @property
    def url(self) -> str:
        """Where clients find it."""
        return self._server.url

    @property
    def calls(self) -> list[str]:
        """Names of the API methods called so far."""
        return self._app.journal.calls

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests so far."""
        return self._app.journal.requests

    @property
    def pending(self) -> dict[str, list[str]]:
        """Scripted faults that have not happened yet."""
        return self._app.faults.pending

    def inject(self, method: str, *faults: str) -> None:
        """Aim faults at the next calls of an API method, one each, in order."""
        self._app.faults.add(method, faults)

    def state(self) -> dict[str, Any]:
        """What ``GET /emulator/state`` shows."""
        return {"calls": self.calls, "pending": self.pending, "operations": []}

    def start(self) -> Self:
        """Serve until :meth:`stop`."""
        self._server.start()
        return self

    def stop(self) -> None:
        """Stop serving; a root that the emulator made itself is removed."""
        self._app.close()
        self._server.stop()
        if self._scratch is not None:
            self._scratch.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _mounted(catalogs: Mapping[str, Path | str] | Iterable[str]) -> list[CollectionAsset]:
    pairs = (
        [f"{identity}={folder}" for identity, folder in catalogs.items()] if isinstance(catalogs, Mapping) else catalogs
    )
    mounts = [Mount.parse(text) for text in pairs]
    return [MountedCollection(mount, modis.composite_end if mount.id == modis.ID else None) for mount in mounts]
