"""Look at collections in the triggerer, for tasks that wait and for DAGs that start on new imagery; no pixel is fetched."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent

from airflow_ee.core.errors import EarthEngineError
from airflow_ee.triggers.watch_store import AssetWatchStore, FileWatchStore, WatchStore

if TYPE_CHECKING:
    from airflow_ee.core.imagery import Imagery
    from airflow_ee.core.resources import Asset
    from airflow_ee.core.told_images import ToldImages
    from airflow_ee.hooks.earth_engine import EarthEngineAsyncHook

__all__ = ["EarthEngineImageryTrigger", "EarthEngineImageryWaitTrigger"]

# The service may be out of reach for so long before waiting is given up.
TOLERATED_SECONDS = 3600.0
JITTER = (0.8, 1.2)
# Of images that are dated ahead: composites begin with their interval, forecasts with the time that they are for.
AHEAD = timedelta(days=366)
MAXIMUM_BATCH = 500
SAVE_SECONDS = 5.0


class EarthEngineImageryWaitTrigger(BaseTrigger):
    """
    Wait for a task until a collection has the images that a query asks for.

    Fires one event, ``{"status": "done" | "timeout" | "error", "images": number, "coverage": fraction, "message": ...}``; the
    worker asks for the images itself then.

    :param query: An :class:`~airflow_ee.core.image_query.ImageQuery` as JSON values.
    :param min_images: How many have to be there.
    :param min_coverage: Which share of the query's region their footprints have to cover; None: any.
    :param project_id: Cloud project that is billed.
    :param gcp_conn_id: The Airflow connection.
    :param impersonation_chain: Service account to impersonate, or a chain of them.
    :param poll_interval: Seconds between two looks.
    :param not_before: Moment, in seconds of the epoch, of the first look; None: at once.
    :param deadline: Moment, in seconds of the epoch, at which waiting is given up; None: never.
    """

    def __init__(
        self,
        *,
        query: Mapping[str, Any],
        min_images: int = 1,
        min_coverage: float | None = None,
        project_id: str | None = None,
        gcp_conn_id: str = "earth_engine_default",
        impersonation_chain: str | Sequence[str] | None = None,
        poll_interval: float = 900.0,
        not_before: float | None = None,
        deadline: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.query = dict(query)
        self.min_images = min_images
        self.min_coverage = min_coverage
        self.project_id = project_id
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.poll_interval = poll_interval
        self.not_before = not_before
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what another triggerer needs to go on."""
        return (
            "airflow_ee.triggers.imagery.EarthEngineImageryWaitTrigger",
            {
                "query": self.query,
                "min_images": self.min_images,
                "min_coverage": self.min_coverage,
                "project_id": self.project_id,
                "gcp_conn_id": self.gcp_conn_id,
                "impersonation_chain": _plain_chain(self.impersonation_chain),
                "poll_interval": self.poll_interval,
                "not_before": self.not_before,
                "deadline": self.deadline,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is enough imagery, the deadline has passed, or the collection cannot be looked at."""
        if self.not_before is not None:
            await asyncio.sleep(self._until_deadline(max(0.0, self.not_before - time.time())))
        hook = await _make_hook(self)
        failing_since: float | None = None
        while True:
            try:
                found = await _look(hook, self.query)
            except EarthEngineError as error:
                now = time.monotonic()
                failing_since = failing_since or now
                self.log.warning("Could not look at %s: %s", self.query["collection"], error)
                if not error.retryable or now - failing_since > TOLERATED_SECONDS:
                    yield _event("error", message=str(error))
                    return
            else:
                failing_since = None
                if found.suffices(min_images=self.min_images, min_coverage=self.min_coverage):
                    yield _event("done", found)
                    return
            if self.deadline is not None and time.time() >= self.deadline:
                yield _event("timeout", message="the deadline has passed")
                return
            await asyncio.sleep(self._until_deadline(_jittered(self.poll_interval)))

    def _until_deadline(self, seconds: float) -> float:
        return seconds if self.deadline is None else max(0.0, min(seconds, self.deadline - time.time()))


class EarthEngineImageryTrigger(BaseEventTrigger):
    """
    Start DAGs when new images appear in a collection: for ``AssetWatcher``.

    Fires one event for each look that found any, ``{"collection", "image_count", "images", "simulated"}``, where each image is
    ``{"image_id", "start_time", "end_time", "update_time", "maybe_repeated"}``, in the order in which they appeared at the service; without
    ``batch`` one event for each image, which has these fields itself. Images may come late and in any order.

    No image is missed that appears while the watch goes on or the triggerer is down. An image is told twice only when the
    triggerer ended before it could note that Airflow had the first event; the second one says ``"maybe_repeated": true``. What was
    told is remembered in Airflow's store of the asset's state (Airflow 3.3 and newer, a trigger for one asset), or in ``state_uri``. With
    neither, images of the last ``overlap_hours`` are told at each start of the triggerer, as ``maybe_repeated``.

    A watch never ends by itself: what goes wrong is logged, and looked at again.

    :param collection: Asset id, or the name of a preset such as ``MOD13Q1``.
    :param region: Box ``[west, south, east, north]``, GeoJSON, or the text of either; only images that meet it are told.
    :param filters: Conditions on properties of images, such as ``CLOUDY_PIXEL_PERCENTAGE<40``; all have to hold.
    :param horizon_days: How far back images may begin. One that appears later than so many days after its beginning is not told.
    :param include_existing: Whether the first look tells the images that are there; else it only notes them.
    :param on_revised: ``ignore`` images that change after they were told, or ``tell`` them again.
    :param batch: Whether all new images of a look are one event (of at most 500), or one each. Of events in quick succession, Airflow
        gives the run that it starts only the first; the others wait for the run of the next event.
    :param state_uri: Folder for what was told: local path, ``gs://`` or ``s3://``. Watches may share it. It wins over Airflow's store.
    :param state_conn_id: Airflow connection of the object store; for ``gs://`` it defaults to ``gcp_conn_id``.
    :param poll_interval: Seconds between two looks.
    :param overlap_hours: How much is told again at each start of a triggerer that can remember nothing.
    :param confirm_seconds: How long after an event the triggerer is taken to have kept it in Airflow's database.
    :param project_id: Cloud project that is billed.
    :param gcp_conn_id: The Airflow connection.
    :param impersonation_chain: Service account to impersonate, or a chain of them.
    """

    def __init__(
        self,
        *,
        collection: str,
        region: Sequence[float] | Mapping[str, Any] | str | None = None,
        filters: str | Sequence[str] | None = None,
        horizon_days: float = 60.0,
        include_existing: bool = False,
        on_revised: str = "ignore",
        batch: bool = True,
        state_uri: str | None = None,
        state_conn_id: str | None = None,
        poll_interval: float = 600.0,
        overlap_hours: float = 24.0,
        confirm_seconds: float = 5.0,
        project_id: str | None = None,
        gcp_conn_id: str = "earth_engine_default",
        impersonation_chain: str | Sequence[str] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if on_revised not in {"ignore", "tell"}:
            raise ValueError(f"on_revised must be ignore or tell, got {on_revised!r}")
        if horizon_days <= 0 or poll_interval <= 0:
            raise ValueError(f"horizon_days and poll_interval must be above 0, got {horizon_days} and {poll_interval}")
        self.collection = collection
        # Airflow tells watches apart by what they are made of: one text for a region, whatever it came as.
        self.region = region if region is None or isinstance(region, str) else json.dumps(region, sort_keys=True)
        self.filters = [filters] if isinstance(filters, str) else list(filters or ())
        self.horizon_days = horizon_days
        self.include_existing = include_existing
        self.on_revised = on_revised
        self.batch = batch
        self.state_uri = state_uri
        self.state_conn_id = state_conn_id
        self.poll_interval = poll_interval
        self.overlap_hours = overlap_hours
        self.confirm_seconds = confirm_seconds
        self.project_id = project_id
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self._hook: EarthEngineAsyncHook | None = None
        self._store: WatchStore | None = None
        self._told: ToldImages | None = None
        self._unconfirmed: list[tuple[float, list[Asset]]] = []

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what another triggerer needs to go on; the same for the same watch."""
        return (
            "airflow_ee.triggers.imagery.EarthEngineImageryTrigger",
            {
                "collection": self.collection,
                "region": self.region,
                "filters": self.filters,
                "horizon_days": self.horizon_days,
                "include_existing": self.include_existing,
                "on_revised": self.on_revised,
                "batch": self.batch,
                "state_uri": self.state_uri,
                "state_conn_id": self.state_conn_id,
                "poll_interval": self.poll_interval,
                "overlap_hours": self.overlap_hours,
                "confirm_seconds": self.confirm_seconds,
                "project_id": self.project_id,
                "gcp_conn_id": self.gcp_conn_id,
                "impersonation_chain": _plain_chain(self.impersonation_chain),
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look for ever, and tell what is new."""
        while True:
            try:
                async with aclosing(self._look_and_tell()) as events:
                    async for event in events:
                        yield event
            except EarthEngineError as error:
                self.log.warning("Could not look at %s: %s", self.collection, error)
            except Exception:
                # Airflow starts a watch that has ended anew every second, for ever.
                self.log.exception("The watch on %s could not go on; it tries again", self.collection)
            await asyncio.sleep(_jittered(self.poll_interval))

    async def _look_and_tell(self) -> AsyncGenerator[TriggerEvent, None]:
        if self._hook is None:
            self._hook = await _make_hook(self)
        if self._told is None:
            self._store = self._open_store()
            self._told = await self._recall()
        start, end = self._window()
        found = await _look(self._hook, self._query(start, end))
        if self._told is None:
            self._told = self._begin(found)
            await self._save()
        async with aclosing(self._tell(self._fresh(found), found.simulated)) as events:
            async for event in events:
                yield event
        self._told.forget_before(start)
        while self._unconfirmed:
            await asyncio.sleep(max(0.0, self._unconfirmed[0][0] + self.confirm_seconds - time.monotonic()))
            await self._confirm()

    async def _tell(self, images: list[Asset], simulated: bool) -> AsyncGenerator[TriggerEvent, None]:
        if self._told is None or not images:
            return
        self.log.info("%s has %d new image(s)", self.collection, len(images))
        self._told.begin(images)
        # Before the first event, so that a process that is killed among them leaves a note of what may have been told.
        await self._save()
        for part in self._batches(images):
            yield TriggerEvent(self._payload(part, simulated))  # type: ignore[no-untyped-call]
            self._unconfirmed.append((time.monotonic(), part))
            await self._confirm()

    def _fresh(self, found: Imagery) -> list[Asset]:
        waiting = {image.id for _, images in self._unconfirmed for image in images}
        untold = [] if self._told is None else self._told.untold(found.images)
        return [image for image in untold if image.id not in waiting]

    async def _confirm(self) -> None:
        """Note images as told for good whose events Airflow has had the time to keep.

        A trigger does not hear when that was: the triggerer's two processes pass events on every second.
        """
        now = time.monotonic()
        certain = [images for moment, images in self._unconfirmed if moment + self.confirm_seconds <= now]
        if not certain or self._told is None:
            return
        del self._unconfirmed[: len(certain)]
        self._told.finish(image for images in certain for image in images)
        await self._save()

    def _open_store(self) -> WatchStore | None:
        name = "earth_engine_imagery_" + self._digest()
        if self.state_uri is not None:
            from airflow_ee.hooks.locations import connection_for

            conn_id = connection_for(self.state_uri, self.state_conn_id, self.gcp_conn_id)
            return FileWatchStore(self.state_uri, conn_id, name)
        store = getattr(self, "asset_state_store", None)
        if store is not None:
            return AssetWatchStore(store, name)
        self.log.warning(
            "Nothing remembers what the watch on %s tells: give state_uri, or use Airflow 3.3. Images of the last %g h are told at "
            "each start",
            self.collection,
            self.overlap_hours,
        )
        return None

    def _digest(self) -> str:
        """Tells watches apart by what they watch, and not by how."""
        watched = [_collection_id(self.collection), self.region, self.filters, self.on_revised]
        return hashlib.sha256(json.dumps(watched).encode()).hexdigest()[:16]

    async def _recall(self) -> ToldImages | None:
        """What was told before; None when this is the first look."""
        from airflow_ee.core.told_images import ToldImages

        saved = None if self._store is None else await self._store.load()
        return None if saved is None else ToldImages.from_json(saved, revisions=self.on_revised == "tell")

    def _begin(self, found: Imagery) -> ToldImages:
        """What a first look takes for told: what is there already, or, where nothing remembers, what is not of late."""
        from airflow_ee.core.told_images import ToldImages

        told = ToldImages(revisions=self.on_revised == "tell")
        if self._store is None:
            since = datetime.now(UTC) - timedelta(hours=self.overlap_hours)
            told.doubt(found.images)
            told.finish(image for image in found.images if _updated(image) < since)
        elif not self.include_existing:
            told.finish(found.images)
        return told

    async def _save(self) -> None:
        if self._store is None or self._told is None:
            return
        saving = asyncio.ensure_future(self._store.save(self._told.to_json()))
        try:
            await asyncio.shield(saving)
        except asyncio.CancelledError:
            # What has begun ends before the next triggerer reads it; a triggerer that stops may answer no more.
            await asyncio.wait([saving], timeout=SAVE_SECONDS)
            raise

    def _window(self) -> tuple[datetime, datetime]:
        now = datetime.now(UTC)
        return now - timedelta(days=self.horizon_days), now + AHEAD

    def _query(self, start: datetime, end: datetime) -> dict[str, Any]:
        from airflow_ee.core.filters import parse_filters

        return {
            "collection": _collection_id(self.collection),
            "start": start.isoformat(),
            "end": end.isoformat(),
            "region": self.region,
            "filters": [[item.name, item.comparison, item.value] for item in parse_filters(self.filters)],
        }

    def _batches(self, images: list[Asset]) -> list[list[Asset]]:
        size = MAXIMUM_BATCH if self.batch else 1
        return [images[first : first + size] for first in range(0, len(images), size)]

    def _payload(self, images: Sequence[Asset], simulated: bool) -> dict[str, Any]:
        told = self._told
        described = [
            {**_described(image), "maybe_repeated": told is not None and told.is_uncertain(image)} for image in images
        ]
        content = {"image_count": len(images), "images": described} if self.batch else described[0]
        return {"collection": _collection_id(self.collection), **content, "simulated": simulated}


async def _make_hook(trigger: EarthEngineImageryWaitTrigger | EarthEngineImageryTrigger) -> EarthEngineAsyncHook:
    def make() -> EarthEngineAsyncHook:
        # Imported in a thread: Google's hooks take seconds to import, and the loop serves all triggers of the process.
        from airflow_ee.hooks.earth_engine import EarthEngineAsyncHook

        return EarthEngineAsyncHook(
            project_id=trigger.project_id,
            gcp_conn_id=trigger.gcp_conn_id,
            impersonation_chain=trigger.impersonation_chain,
        )

    return await asyncio.to_thread(make)


async def _look(hook: EarthEngineAsyncHook, query: Mapping[str, Any]) -> Imagery:
    client = await hook.get_client()

    def find() -> Imagery:
        from airflow_ee.core.image_query import ImageQuery
        from airflow_ee.core.imagery import Imagery

        return Imagery.find(client, ImageQuery.from_json(query))

    return await asyncio.to_thread(find)


def _collection_id(collection: str) -> str:
    from airflow_ee.core.presets import find_preset

    preset = find_preset(collection)
    return preset.collection if preset else collection


def _plain_chain(chain: str | Sequence[str] | None) -> str | list[str] | None:
    return chain if chain is None or isinstance(chain, str) else list(chain)


def _jittered(seconds: float) -> float:
    # Many triggers that began together do not ask together for ever.
    return seconds * random.uniform(*JITTER)


def _updated(image: Asset) -> datetime:
    return datetime.fromisoformat(image.update_time) if image.update_time else datetime.max.replace(tzinfo=UTC)


def _described(image: Asset) -> dict[str, Any]:
    return {
        "image_id": image.id,
        "start_time": image.start_time and image.start_time.isoformat(),
        "end_time": image.end_time and image.end_time.isoformat(),
        "update_time": image.update_time,
    }


def _event(status: str, found: Imagery | None = None, message: str = "") -> TriggerEvent:
    images, coverage = (0, None) if found is None else (len(found.images), found.coverage)
    payload = {"status": status, "images": images, "coverage": coverage, "message": message}
    return TriggerEvent(payload)  # type: ignore[no-untyped-call]
