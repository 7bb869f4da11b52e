"""The emulator as one object: a server with a catalogue, an evaluator and a state that a test can look at."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Any, Self

from airflow_ee.emulator import deadline
from airflow_ee.emulator.api import assets, discovery, features, images, maps, pictures, policies, values
from airflow_ee.emulator.api.calls import Answer, Call
from airflow_ee.emulator.api.operations import Operations
from airflow_ee.emulator.api.projects import Projects
from airflow_ee.emulator.api.renderings import Renderings
from airflow_ee.emulator.catalog.catalog import Catalog
from airflow_ee.emulator.catalog.mounts import MountError
from airflow_ee.emulator.catalog.recipe import CatalogRecipe
from airflow_ee.emulator.catalog.store import AssetStore
from airflow_ee.emulator.claim import RootClaim
from airflow_ee.emulator.clock import Clock, ManualClock, ShiftedClock
from airflow_ee.emulator.compute.service import ComputeOptions, PixelService
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.exports.bigquery import BigQueryFolder
from airflow_ee.emulator.exports.delivery import delivery
from airflow_ee.emulator.exports.life import DuplicateRule, Durations, OperationLife
from airflow_ee.emulator.exports.store import FileOperationStore
from airflow_ee.emulator.exports.work import ExportWork
from airflow_ee.emulator.functions import registry
from airflow_ee.emulator.http.admission import Host
from airflow_ee.emulator.http.app import Application, Conditions, Handler, Sockets
from airflow_ee.emulator.http.control import Control
from airflow_ee.emulator.http.credentials import Credentials
from airflow_ee.emulator.http.journal import RecordedRequest
from airflow_ee.emulator.http.plan import RANDOM_FAULTS, Chance
from airflow_ee.emulator.http.server import Connections, Server
from airflow_ee.emulator.imports import external
from airflow_ee.emulator.imports.buckets import buckets
from airflow_ee.emulator.imports.work import ImportWork
from airflow_ee.emulator.limits import MAX_PENDING
from airflow_ee.emulator.session import Session
from airflow_ee.emulator.values.dates import timestamp

_METHODS: dict[str, Callable[[Call, Session], Answer]] = {
    "algorithms.list": discovery.list_algorithms,
    "assets.copy": assets.copy_asset,
    "assets.create": assets.create_asset,
    "assets.delete": assets.delete_asset,
    "assets.get": assets.get_asset,
    "assets.getIamPolicy": policies.get_policy,
    "assets.listAssets": assets.list_assets,
    "assets.listFeatures": features.list_features,
    "assets.listImages": assets.list_images,
    "assets.move": assets.move_asset,
    "assets.patch": assets.patch_asset,
    "assets.setIamPolicy": policies.set_policy,
    "assets.testIamPermissions": policies.test_permissions,
    "image:importExternal": external.import_external,
    "imageCollection:computeImages": images.compute_images,
    "locations.assets.create": assets.create_asset,
    "table:computeFeatures": features.compute_features,
    "tables.getFeatures": features.get_table,
    "value:compute": values.compute_value,
}

_KEPT: dict[str, tuple[str, Callable[[Call, Session], Answer]]] = {
    "filmstripThumbnails": ("filmstripThumbnails.getPixels", pictures.check_filmstrip),
    "maps": ("maps.tiles.get", maps.check_map),
    "tables": ("tables.getFeatures", features.check_table),
    "thumbnails": ("thumbnails.getPixels", pictures.check_picture),
}
"""What is created first and fetched later: by which method, and how the request is looked at."""


class Emulator:
    """A local Earth Engine on a real socket.

    Parameters
    ----------
    host, port
        Where to listen; port 0 takes a free one.
    root
        Folder for exports, assets and operations, which outlive the process; without one they are removed at the end.
    catalogs
        Folders of GeoTIFFs and STAC catalogs (JSON files) by collection id, or texts ``ID=PATH``.
    remote_files
        Whether STAC catalogs may name items and GeoTIFFs at http and https addresses, which are read from there.
    clock, seed
        The time, and what operation ids are made from: given ones make a run repeatable.
    pending_seconds, running_seconds, cancelling_seconds
        How long an operation stays in each state at least, by the clock.
    latency_seconds
        Added to every answer.
    bandwidth_bytes_per_second
        How fast answers go out, all of them together.
    max_concurrent_requests, requests_per_second
        Open requests for each host, starts in any second, both for each project: beyond these 429; None for no limit.
    high_volume_port
        Where the second host listens; port 0 takes a free one.
    tokens, keys
        Access tokens (with the scopes of each, or as texts) and API keys; with neither, none is asked for.
    fault_rate, fault_seed, fault_kinds
        The share of calls that go wrong by chance, the seed of chance, and what goes wrong.
    duplicate_request_id
        What a repeated requestId gets: an ``error``, or the ``same`` operation. Google's answer is not documented.
    max_pending_operations
        How many operations of a project may wait; the next ones are refused.
    unknown_asset_status
        404 or 403 for assets.get and getPixels of an asset that is not there: Google's answer is not documented.
    compute
        Processes beside the server, the cache of answers, and payloads that are made once.
    storage_endpoint
        URL of a Cloud Storage JSON API, an emulator's say: exports to ``gs://`` are uploaded there, not kept in folders, and imports read from there.

    Examples
    --------
    >>> import urllib.request
    >>> with Emulator() as emulator:
    ...     urllib.request.urlopen(emulator.url + "/healthz").status
    200
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        root: Path | str | None = None,
        catalogs: Mapping[str, Path | str] | Iterable[str] = (),
        remote_files: bool = False,
        clock: Clock | None = None,
        seed: int | None = None,
        pending_seconds: float = 0.2,
        running_seconds: float = 0.5,
        cancelling_seconds: float = 0.1,
        latency_seconds: float = 0.0,
        bandwidth_bytes_per_second: float | None = None,
        max_concurrent_requests: int | None = 40,
        requests_per_second: float | None = 100.0,
        high_volume_port: int = 0,
        tokens: Mapping[str, Iterable[str]] | Iterable[str] = (),
        keys: Iterable[str] = (),
        fault_rate: float = 0.0,
        fault_seed: int | None = None,
        fault_kinds: Sequence[str] = RANDOM_FAULTS,
        duplicate_request_id: DuplicateRule = "error",
        max_pending_operations: int = MAX_PENDING,
        unknown_asset_status: int = 404,
        compute: ComputeOptions | None = None,
        storage_endpoint: str | None = None,
    ) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="earth-engine-") if root is None else None
        self.root = Path(self._scratch.name if self._scratch is not None else root or "")
        self.clock: Clock = clock or ShiftedClock()
        self._stopped = Event()
        self._claim = RootClaim(self.root)
        with self._claim.kept_on_success():
            recipe = CatalogRecipe.of_texts(
                catalogs, self.root, unknown_asset_status=unknown_asset_status, remote_files=remote_files
            )
            store = recipe.store(own_buckets=storage_endpoint is None)
            store.recover()
            self.catalog = self._read(recipe, store)
            self._operations = FileOperationStore(self.root / "operations")
            self._life = OperationLife(
                self._operations,
                self._work(store, storage_endpoint),
                self.root / "drafts",
                self.clock,
                durations=Durations(pending_seconds, running_seconds, cancelling_seconds),
                duplicate_request_id=duplicate_request_id,
                max_pending=max_pending_operations,
                seed=seed,
            )
            self._compute_options = compute or ComputeOptions()
            self._compute = PixelService(self._compute_options, recipe, self._session)
            conditions = Conditions(
                max_concurrent_requests=max_concurrent_requests,
                requests_per_second=requests_per_second,
                latency_seconds=latency_seconds,
                bandwidth_bytes_per_second=bandwidth_bytes_per_second,
                chance=Chance(fault_rate, fault_seed, tuple(fault_kinds)),
                credentials=Credentials.of(tokens, keys),
            )
            self._app = self._application(conditions)
            self._connections = Connections()
            self._server = Server(self._app, self._connections, host=host, port=port, high_volume_port=high_volume_port)

    def _work(self, store: AssetStore, storage_endpoint: str | None) -> ExportWork:
        tables = BigQueryFolder(self.root / "bigquery")
        imports = ImportWork(buckets(self.root, storage_endpoint), self._session, self.clock.now)
        return ExportWork(store, delivery(self.root, storage_endpoint), tables, imports, self._session, self.clock.now)

    def _read(self, recipe: CatalogRecipe, store: AssetStore) -> Catalog:
        try:
            return recipe.catalog(self.clock, store)
        except MountError:
            self._discard_scratch()
            raise

    def _application(self, conditions: Conditions) -> Application:
        return Application(
            self._handlers(),
            sockets=Sockets(abort=self._abort, host=self._host_of),
            conditions=conditions,
            control=partial(Control, state=self.state, advance=self._advance),
        )

    def _abort(self, peer: tuple[str, int], reset: bool) -> None:
        self._connections.abort(peer, reset)

    def _host_of(self, scope: Mapping[str, Any], host_header: str) -> Host:
        return self._server.host_of(scope, host_header)

    def _advance(self, seconds: float) -> str:
        if not isinstance(self.clock, ManualClock | ShiftedClock):
            raise invalid("this emulator's clock cannot be moved")
        self.clock.advance(seconds)
        return timestamp(self.clock.now())

    def _session(self) -> Session:
        return Session(self.catalog, registry, self.clock.now())

    def _handlers(self) -> dict[str, Handler]:
        def bound(method: Callable[[Call, Session], Answer]) -> Handler:
            return lambda call: method(call, self._session())

        evaluated = {name: bound(method) for name, method in _METHODS.items()} | self._compute.methods
        handlers = {name: self._timed(handler) for name, handler in evaluated.items()}
        kept = Renderings()
        for kind, (fetch, check) in _KEPT.items():
            create = kept.create(kind, self._timed(bound(check)))
            handlers |= {f"{kind}.create": create, f"locations.{kind}.create": create}
            handlers[fetch] = kept.fetch(handlers[fetch])
        return handlers | Projects(self._life).methods() | Operations(self._life, self._script).methods()

    def _timed(self, handler: Handler) -> Handler:
        def limited(call: Call) -> Answer:
            with deadline.within(self._compute_options.timeout_seconds), deadline.unless(self._stopped):
                return handler(call)

        return limited

    def _script(self, method: str) -> Mapping[str, Any]:
        """What a fault has in store for the operation that a call starts."""
        fault = self._app.faults.take(method, operations=True)
        if fault is None:
            return {}
        if fault.error is None:
            return {fault.action: True}
        return {fault.action: {"code": fault.error.code, "message": fault.error.message}}

    @property
    def url(self) -> str:
        """Where clients find it."""
        return self._server.url

    @property
    def high_volume_url(self) -> str:
        """Where clients find the high-volume host, which has open requests of its own."""
        return self._server.high_volume_url

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

    @property
    def compute_pids(self) -> list[int]:
        """Processes that compute pixels at present."""
        return self._compute.pids

    @property
    def standing(self) -> dict[str, list[str]]:
        """Scripted rules that hold until they are cleared."""
        return self._app.faults.standing

    @property
    def happened(self) -> list[tuple[str, str]]:
        """Method and text of every fault so far."""
        return self._app.faults.happened

    @property
    def operations(self) -> list[dict[str, Any]]:
        """Every operation as REST shows it, oldest first."""
        return [operation.as_json() for operation in self._operations.all()]

    def inject(self, method: str, *faults: str) -> None:
        """Aim faults at the next calls of an API method, one each, in order."""
        self._app.faults.add(method, faults)

    def clear_faults(self, method: str | None = None) -> None:
        """Forget scripted faults and standing rules, of one method or of all."""
        self._app.faults.clear(method)

    def state(self) -> dict[str, Any]:
        """What ``GET /emulator/state`` shows."""
        return {"calls": self.calls, **self._app.faults.as_json(), "operations": self.operations}

    def start(self) -> Self:
        """Serve until :meth:`stop`."""
        self._life.start()
        self._server.start()
        return self

    def stop(self) -> None:
        """Stop serving; a root that the emulator made itself is removed."""
        self._stopped.set()
        self._app.close()
        self._server.stop()
        self._compute.close()
        self._life.stop()
        self._claim.release()
        self._discard_scratch()

    def abandon(self) -> None:
        """Leave nothing behind, for a process that ends without waiting for what still computes."""
        self._compute.close()
        self._discard_scratch()

    def _discard_scratch(self) -> None:
        if self._scratch is not None:
            self._scratch.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
