"""What a watch on imagery tells of images, what it keeps to itself, and what it does when things go wrong."""

import asyncio
import json
import logging
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk import DAG, Asset, AssetWatcher
from airflow.triggers.base import BaseEventTrigger

import airflow_ee.hooks.earth_engine  # noqa: F401 - takes seconds, which no test is to wait for
from airflow_ee.triggers.imagery import EarthEngineImageryTrigger
from airflow_ee.triggers.watch_store import AssetWatchStore
from tests.imagery import COLLECTION, Incoming
from tests.older_airflow import DagSerialization
from tests.triggers.watching import revive

BOX = {"type": "Polygon", "coordinates": [[[10, 45], [12, 45], [12, 46], [10, 46], [10, 45]]]}


def ago(**difference):
    return datetime.now(UTC) - timedelta(**difference)


@pytest.fixture
def incoming(emulator, connect):
    connect(endpoint=emulator.url, is_anonymous=True)
    return Incoming(emulator.root)


@pytest.fixture
def make(tmp_path):
    """Makes a watch that remembers in a folder."""

    def make(**arguments):
        return EarthEngineImageryTrigger(
            **{
                "collection": COLLECTION, "state_uri": str(tmp_path / "state"), "poll_interval": 0.05,
                "confirm_seconds": 0, "batch": False, **arguments,
            }
        )  # fmt: skip

    return make


@asynccontextmanager
async def watch(trigger):
    """Runs a trigger; gives the list that its events appear in, after its first look."""
    events = []

    async def consume():
        async for event in trigger.run():
            events.append(event.payload)

    running = asyncio.create_task(consume())
    try:
        # The first look divides what was there from what is new.
        for _ in range(40):
            await asyncio.sleep(0.05)
            if trigger._told is not None:
                break
        yield events
        assert not running.done(), "a watch never ends by itself"
    finally:
        running.cancel()
        await asyncio.wait([running])


async def several(events, count):
    """The events, as soon as there are so many, and a moment later no more."""
    for _ in range(200):
        if len(events) >= count:
            break
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)
    assert len(events) == count, events
    return events


class TestTelling:
    async def test_a_new_image_is_told_with_its_times_and_one_that_was_there_is_not(self, make, incoming):
        incoming.put("old", ago(days=3))
        start = ago(days=20)
        async with watch(make()) as events:
            new = await asyncio.to_thread(incoming.put, "new", start)
            (event,) = await several(events, 1)
        assert datetime.fromisoformat(event.pop("update_time")) > ago(minutes=1)
        assert abs(datetime.fromisoformat(event.pop("start_time")) - start) < timedelta(milliseconds=1)
        assert event == {
            "collection": COLLECTION, "image_id": new, "end_time": None, "maybe_repeated": False, "simulated": False,
        }  # fmt: skip

    async def test_what_is_there_is_told_if_so_wished_in_the_order_in_which_it_appeared(self, make, incoming):
        late = incoming.put("a", ago(days=40), updated=ago(hours=1))
        early = incoming.put("b", ago(days=5), updated=ago(days=4))
        incoming.put("beyond", ago(days=61))
        async with watch(make(include_existing=True)) as events:
            found = await several(events, 2)
        assert [event["image_id"] for event in found] == [early, late]

    async def test_a_batch_is_one_event_of_all_that_a_look_found(self, make, incoming):
        names = [incoming.put(f"i{number}", ago(days=number + 1), updated=ago(hours=9 - number)) for number in range(5)]
        async with watch(make(include_existing=True, batch=True)) as events:
            (event,) = await several(events, 1)
        assert [image["image_id"] for image in event["images"]] == names
        assert (event["image_count"], event["collection"], event["simulated"]) == (5, COLLECTION, False)

    async def test_only_images_of_the_region_that_pass_the_filters_are_told(self, make, incoming):
        incoming.put("elsewhere", ago(days=1), CLOUDS=10)
        incoming.put("clouded", ago(days=1), CLOUDS=90, footprint=(9, 44, 11, 47))
        clear = incoming.put("clear", ago(days=1), CLOUDS=10, footprint=(9, 44, 11, 47))
        async with watch(make(include_existing=True, region=BOX, filters="CLOUDS<40")) as events:
            (event,) = await several(events, 1)
        assert event["image_id"] == clear

    @pytest.mark.parametrize(("on_revised", "count"), [("ignore", 1), ("tell", 2)])
    async def test_a_revised_image_is_told_again_only_if_so_wished(self, make, incoming, on_revised, count):
        incoming.put("a", ago(days=5), updated=ago(days=4))
        async with watch(make(include_existing=True, on_revised=on_revised)) as events:
            await several(events, 1)
            await asyncio.to_thread(incoming.put, "a", ago(days=5), replace=True)
            await several(events, count)
        assert {event["image_id"] for event in events} == {f"{COLLECTION}/a"}

    async def test_a_preset_is_a_collection_and_an_emulators_images_are_told_to_be_simulated(self, make, incoming):
        watched = make(collection="MOD13Q1", region=[-55.6, -12.1, -55.5, -12.0], include_existing=True)
        async with watch(watched) as events:
            for _ in range(100):
                await asyncio.sleep(0.05)
                if len(events) >= 2:
                    break
        assert len({event["image_id"] for event in events}) == len(events) >= 2
        assert {event["simulated"] for event in events} == {True}
        assert {event["collection"] for event in events} == {"MODIS/061/MOD13Q1"}


class TestMemory:
    async def test_another_triggerer_tells_what_came_while_there_was_none(self, make, incoming):
        trigger = make()
        async with watch(trigger) as events:
            await asyncio.to_thread(incoming.put, "a", ago(days=1))
            await several(events, 1)
        missed = await asyncio.to_thread(incoming.put, "b", ago(days=50), updated=ago(days=2))
        async with watch(revive(*trigger.serialize())) as events:
            (event,) = await several(events, 1)
        assert (event["image_id"], event["maybe_repeated"]) == (missed, False)

    async def test_an_event_that_airflow_may_not_have_kept_is_told_again_and_says_so(self, make, incoming):
        trigger = make(confirm_seconds=60)
        async with watch(trigger) as events:
            await asyncio.to_thread(incoming.put, "a", ago(days=1))
            (first,) = await several(events, 1)
        async with watch(revive(*trigger.serialize())) as events:
            (second,) = await several(events, 1)
        assert (first.pop("maybe_repeated"), second.pop("maybe_repeated")) == (False, True)
        assert first == second

    async def test_an_event_that_airflow_had_the_time_to_keep_is_not(self, make, incoming):
        trigger = make(confirm_seconds=0.2)
        async with watch(trigger) as events:
            await asyncio.to_thread(incoming.put, "a", ago(days=1))
            await several(events, 1)
        async with watch(revive(*trigger.serialize())) as events:
            await several(events, 0)

    async def test_watches_share_a_folder_and_keep_apart_what_they_watch(self, make, incoming, tmp_path):
        incoming.put("a", ago(days=1), CLOUDS=10)
        for arguments in ({}, {"filters": "CLOUDS<40"}, {"region": [-60, -20, -50, -10]}):
            async with watch(make(include_existing=True, **arguments)) as events:
                await several(events, 1)
        assert len(list((tmp_path / "state").iterdir())) == 3
        async with watch(make(include_existing=True, poll_interval=0.04, batch=True)) as events:
            await several(events, 0)

    async def test_without_a_memory_the_last_day_is_told_at_each_start(self, make, incoming):
        incoming.put("old", ago(days=9), updated=ago(hours=30))
        recent = incoming.put("recent", ago(days=9), updated=ago(hours=20))
        for _ in range(2):
            async with watch(make(state_uri=None)) as events:
                await several(events, 1)
            assert [(event["image_id"], event["maybe_repeated"]) for event in events] == [(recent, True)]
        async with watch(make(state_uri=None)) as events:
            await asyncio.to_thread(incoming.put, "new", ago(days=2), updated=ago(hours=26))
            await several(events, 2)
        assert [event["maybe_repeated"] for event in events] == [True, False]

    async def test_airflows_store_without_asynchronous_methods_will_do(self, make, incoming):
        class Store(dict):
            def set(self, key, value):
                self[key] = json.dumps(value)

            def get(self, key, default=None):
                return json.loads(self[key]) if key in self else default

        store = Store()
        trigger = make(state_uri=None)
        trigger.asset_state_store = store
        async with watch(trigger) as events:
            await asyncio.to_thread(incoming.put, "a", ago(days=1))
            await several(events, 1)
        assert [key.startswith("earth_engine_imagery_") for key in store] == [True]
        again = revive(*trigger.serialize(), asset_state_store=store)
        async with watch(again) as events:
            await several(events, 0)

    async def test_assets_that_share_a_trigger_are_told_to_name_a_folder(self):
        context = pytest.importorskip("airflow.sdk.execution_time.context")
        if not hasattr(context, "AssetStateStoreAccessors"):
            pytest.skip("this Airflow keeps no state of assets")
        store = context.AssetStateStoreAccessors(inlets=[Asset("a"), Asset("b")])
        with pytest.raises(ValueError, match="give state_uri"):
            await AssetWatchStore(store, "key").load()


class TestTrouble:
    async def test_a_service_that_is_away_for_a_while_loses_nothing(self, make, incoming, emulator):
        async with watch(make()) as events:
            emulator.inject("assets.listAssets", *["403"] * 5)
            await asyncio.to_thread(incoming.put, "a", ago(days=1))
            await several(events, 1)
        assert not emulator.pending

    async def test_a_collection_that_is_not_there_yet_is_waited_for(self, make, incoming, emulator):
        collection = "projects/demo-project/assets/later"
        async with watch(make(collection=collection)) as events:
            later = await asyncio.to_thread(Incoming, emulator.root, collection)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(later.put, "a", ago(days=1))
            await several(events, 1)

    async def test_nothing_is_told_that_could_not_be_remembered(self, make, incoming, tmp_path):
        (tmp_path / "state").write_text("a file where a folder should be")
        async with watch(make(include_existing=True)) as events:
            await asyncio.to_thread(incoming.put, "a", ago(days=1))
            await asyncio.sleep(0.5)
            assert events == []
            (tmp_path / "state").unlink()
            await several(events, 1)
        assert events[0]["maybe_repeated"] is False

    async def test_a_memory_that_cannot_be_read_is_not_taken_for_none(self, make, incoming, tmp_path):
        trigger = make()
        async with watch(trigger):
            pass
        (file,) = (tmp_path / "state").iterdir()
        kept = file.read_text()
        file.write_text('{"format": 99}')
        await asyncio.to_thread(incoming.put, "a", ago(days=1))
        async with watch(revive(*trigger.serialize())) as events:
            await several(events, 0)
            file.write_text(kept)
            await several(events, 1)


class TestAirflow:
    def test_it_is_the_same_watch_whatever_its_region_was_written_as(self):
        turned = dict(reversed(BOX.items()))
        hashes = set()
        for region in (BOX, turned, json.dumps(BOX, sort_keys=True)):
            trigger = EarthEngineImageryTrigger(collection="c", region=region, filters=("A<1",))
            path, arguments = trigger.serialize()
            assert path == f"{type(trigger).__module__}.{type(trigger).__qualname__}"
            assert revive(path, arguments).serialize() == (path, arguments)
            hashes.add(BaseEventTrigger.hash(path, arguments))
        assert len(hashes) == 1
        assert BaseEventTrigger.hash(*EarthEngineImageryTrigger(collection="c").serialize()) not in hashes

    def test_a_watcher_survives_the_serialization_of_its_dag(self):
        trigger = EarthEngineImageryTrigger(collection="c", region=BOX, impersonation_chain=("a", "b"))
        asset = Asset("imagery", watchers=[AssetWatcher(name="new", trigger=trigger)])
        with DAG("d", schedule=[asset], start_date=datetime(2024, 1, 1, tzinfo=UTC)) as dag:
            pass
        text = json.dumps(DagSerialization.to_dict(dag))
        assert "EarthEngineImageryTrigger" in text
        DagSerialization.from_dict(json.loads(text))

    @pytest.mark.parametrize("arguments", [{"on_revised": "replace"}, {"horizon_days": 0}, {"poll_interval": 0}])
    def test_what_cannot_be_meant_is_refused_while_the_dag_is_read(self, arguments):
        (name,) = arguments
        with pytest.raises(ValueError, match=name):
            EarthEngineImageryTrigger(collection="c", **arguments)

    def test_the_loop_of_the_triggerer_is_not_blocked(self, make, incoming, emulator):
        """Everything that takes time is done in threads."""
        emulator.inject("assets.listAssets", "delay=1", "delay=1")

        async def measure():
            loop = asyncio.get_running_loop()
            loop.set_debug(True)
            loop.slow_callback_duration = 0.7
            async with watch(make()) as events:
                await asyncio.to_thread(incoming.put, "a", ago(days=1))
                await several(events, 1)
            assert not emulator.pending

        records = []
        handler = logging.Handler()
        handler.emit = records.append
        logging.getLogger("asyncio").addHandler(handler)
        asyncio.run(measure())
        logging.getLogger("asyncio").removeHandler(handler)
        assert [record.getMessage() for record in records if "took" in record.getMessage()] == []
