"""Images that arrive late and in any order cause one event each, whatever happens to the triggerer.

``make test-slow`` lets 500 images arrive; a plain run 30.
"""

import asyncio
import json
import os
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from airflow_ee.emulator import Emulator
from airflow_ee.triggers.imagery import EarthEngineImageryTrigger
from tests.imagery import COLLECTION, Incoming
from tests.triggers.watching import Triggerers, consume, revive

IMAGES = int(os.environ.get("AIRFLOW_EE_IMAGES", "30"))
HORIZON_DAYS = 50


class MemoryStore:
    """What Airflow 3.3 gives a trigger that watches an asset: slow at times, and beyond the triggerer's end."""

    def __init__(self, rng):
        self.values, self._rng = {}, rng

    async def aget(self, key, default=None):
        await asyncio.sleep(self._rng.choice([0, 0.01]))
        return json.loads(self.values[key]) if key in self.values else default

    async def aset(self, key, value):
        text = json.dumps(value)
        await asyncio.sleep(self._rng.choice([0, 0.01]))
        self.values[key] = text


class Campaign:
    """Images arrive while triggerers come and go."""

    def __init__(self, root, log, rng, **arguments):
        self.incoming, self.log, self.rng = Incoming(root), log, rng
        self.put, self.ends = [], Counter()
        trigger = EarthEngineImageryTrigger(
            collection=COLLECTION, horizon_days=HORIZON_DAYS + 1, include_existing=True, poll_interval=0.02,
            confirm_seconds=0, **arguments,
        )  # fmt: skip
        self.path, self.arguments = trigger.serialize()

    @property
    def events(self):
        """Images in what Airflow kept."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [image for payload in map(json.loads, lines) for image in payload.get("images", [payload])]

    @property
    def kept_bytes(self):
        """How much Airflow kept."""
        return self.log.stat().st_size if self.log.exists() else 0

    @property
    def told(self):
        return {event["image_id"] for event in self.events}

    async def arrive(self):
        """In bursts, each with a beginning of its own, some of them made known only days after they were changed."""
        order = self.rng.sample(range(IMAGES), IMAGES)
        for number in order:
            now = datetime.now(UTC)
            start = now - timedelta(days=self.rng.uniform(0, HORIZON_DAYS))
            updated = now - timedelta(days=self.rng.choice([0, 0, 0, 3]))
            self.put.append(await asyncio.to_thread(self.incoming.put, f"i{number:04}", start, updated=updated))
            if self.rng.random() < 0.4:
                await asyncio.sleep(self.rng.uniform(0, 0.2))

    async def moment(self):
        """Wait for a triggerer's end: at any time, or amid what it tells."""
        if self.rng.random() < 0.2:
            await asyncio.sleep(self.rng.uniform(0, 0.5))
            return
        before, end = self.kept_bytes, time.monotonic() + self.rng.uniform(0.5, 1.5)
        while self.kept_bytes == before and time.monotonic() < end:
            await asyncio.sleep(0.001)
        await asyncio.sleep(self.rng.uniform(0, 0.03))

    async def cancelled(self, wait=None, **injected):
        """A triggerer that hands its watches over."""
        watch = asyncio.create_task(consume(revive(self.path, self.arguments, **injected), self.log))
        await (wait or self.moment())
        assert not watch.done(), "a watch never ends by itself"
        watch.cancel()
        await asyncio.wait([watch])
        assert watch.cancelled()
        self.ends["cancelled"] += 1

    async def killed(self, triggerers):
        """A triggerer whose machine is gone."""
        await asyncio.to_thread(triggerers.start, self.path, self.arguments, self.log)
        await self.moment()
        await asyncio.to_thread(triggerers.kill)
        self.ends["killed"] += 1

    async def until_all_are_told(self, one_triggerer):
        """Start one triggerer after the other, and at last a calm one, which finds nothing to add."""
        arriving, end = asyncio.create_task(self.arrive()), time.monotonic() + 30 + IMAGES
        while not arriving.done() or self.told != set(self.put):
            assert time.monotonic() < end, f"never told: {sorted(set(self.put) - self.told)}"
            await one_triggerer()
        arriving.result()


@pytest.fixture(scope="module", autouse=True)
def triggerers():
    """Imports what triggerers need while the tests before the one that kills them run."""
    found = Triggerers()
    yield found
    found.close()


@pytest.fixture
def campaign(tmp_path, connect):
    """Makes a campaign against an emulator of its own."""
    with Emulator(root=tmp_path / "root", requests_per_second=None) as emulator:
        connect(endpoint=emulator.url, is_anonymous=True)
        yield lambda rng, **arguments: Campaign(tmp_path / "root", tmp_path / "log", rng, **arguments)


@pytest.mark.parametrize("kept_in", ["file", "Airflow"])
async def test_triggerers_that_hand_over_tell_each_image_once(campaign, tmp_path, kept_in):
    rng = Random(7)
    if kept_in == "file":
        run, injected = campaign(rng, state_uri=str(tmp_path / "state"), batch=False), {}
    else:
        run, injected = campaign(rng, batch=True), {"asset_state_store": MemoryStore(rng)}
    await run.until_all_are_told(lambda: run.cancelled(**injected))
    await run.cancelled(asyncio.sleep(1), **injected)
    assert Counter(event["image_id"] for event in run.events) == Counter(run.put)
    assert len(set(run.put)) == IMAGES
    assert run.ends["cancelled"] > 3


async def test_triggerers_that_are_killed_lose_no_image_and_say_which_they_may_repeat(campaign, triggerers, tmp_path):
    rng = Random(11)
    run = campaign(rng, state_uri=str(tmp_path / "state"), batch=False)

    async def one_triggerer():
        if rng.random() < 0.6:
            await run.killed(triggerers)
        else:
            await run.cancelled()

    await run.until_all_are_told(one_triggerer)
    await run.cancelled(asyncio.sleep(1))
    assert run.ends["killed"] > 1
    assert run.told == set(run.put)
    certain = [event["image_id"] for event in run.events if not event["maybe_repeated"]]
    assert len(set(certain)) == len(certain), "only what says so may be a repetition"
    # What one process had under way when it was killed is one event.
    assert len(run.events) - IMAGES <= run.ends["killed"]
    # Who drops a repetition of what he knows has each image once.
    known, started = set(), []
    for event in run.events:
        if not (event["maybe_repeated"] and event["image_id"] in known):
            started.append(event["image_id"])
        known.add(event["image_id"])
    assert Counter(started) == Counter(run.put)
