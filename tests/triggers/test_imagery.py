"""The imagery trigger waits for images that a query asks for, tells one event, and survives being moved."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_ee.core.filters import parse_filters
from airflow_ee.core.image_query import ImageQuery
from airflow_ee.core.region import Region
from airflow_ee.emulator import Emulator
from airflow_ee.emulator.clock import ManualClock
from airflow_ee.operators.series import EarthEngineTimeSeriesOperator
from airflow_ee.triggers.imagery import EarthEngineImageryWaitTrigger

CONTEXT = {"params": {}, "ti": SimpleNamespace(dag_id="dag", task_id="task")}
REGION = [-55.6, -12.1, -55.55, -12.05]
NOW = datetime(2023, 3, 1, tzinfo=UTC)
DAY = 86_400.0


@pytest.fixture
def clock():
    return ManualClock(NOW)


@pytest.fixture
def server(clock, connect):
    with Emulator(clock=clock) as emulator:
        connect(endpoint=emulator.url, is_anonymous=True)
        yield emulator


def query(days=30, **options):
    return ImageQuery(
        collection="MODIS/061/MOD13Q1", start=NOW - timedelta(days=1), end=NOW + timedelta(days=days),
        region=Region.parse(REGION), **options,
    ).to_json()  # fmt: skip


async def fire(trigger):
    async for event in trigger.run():
        return event.payload
    raise AssertionError("the trigger ended without an event")


async def test_it_fires_when_an_image_appears(server, clock):
    trigger = EarthEngineImageryWaitTrigger(query=query(), poll_interval=0.05)
    waiting = asyncio.create_task(fire(trigger))
    await asyncio.sleep(0.5)
    assert not waiting.done()
    clock.advance(40 * DAY)
    event = await asyncio.wait_for(waiting, 10)
    assert event["status"] == "done"
    assert event["images"] >= 1


async def test_it_waits_for_as_many_as_asked_and_only_for_those_that_pass(server, clock):
    clock.advance(40 * DAY)
    deadline = time.time() + 0.3
    many = EarthEngineImageryWaitTrigger(query=query(), min_images=50, poll_interval=0.05, deadline=deadline)
    assert (await fire(many))["status"] == "timeout"
    none = EarthEngineImageryWaitTrigger(
        query=query(filters=parse_filters(["system:index == nothing"])), poll_interval=0.05, deadline=deadline
    )
    assert (await fire(none))["status"] == "timeout"


async def test_a_collection_that_is_not_there_is_an_error_at_once(server):
    wrong = {**query(), "collection": "local/unknown"}
    event = await fire(EarthEngineImageryWaitTrigger(query=wrong, poll_interval=30))
    assert event["status"] == "error"
    assert "local/unknown" in event["message"]


async def test_a_passing_failure_is_waited_out(server, clock):
    clock.advance(40 * DAY)
    server.inject("assets.listAssets", *["503"] * 4)
    event = await fire(EarthEngineImageryWaitTrigger(query=query(), poll_interval=0.05))
    assert event["status"] == "done"
    assert not server.pending


def test_another_triggerer_goes_on_with_the_same_query():
    trigger = EarthEngineImageryWaitTrigger(query=query(filters=parse_filters(["A<1"])), min_images=3, deadline=5.0)
    path, arguments = trigger.serialize()
    assert path == f"{type(trigger).__module__}.{type(trigger).__qualname__}"
    again = EarthEngineImageryWaitTrigger(**arguments)
    assert again.serialize() == trigger.serialize()
    assert ImageQuery.from_json(again.query).filters == parse_filters(["A<1"])


def make(folder):
    return EarthEngineTimeSeriesOperator(
        task_id="task", request_retries=0, collection="MOD13Q1", index="NDVI", region=REGION, start="2023-03-01",
        end="2023-04-01", on_empty="defer", poll_interval=0.05, allow_nested_operators=False, table_uri=str(folder / "ndvi"),
    )  # fmt: skip


def test_the_series_operator_defers_for_imagery_and_then_makes_the_series(server, clock, tmp_path, monkeypatch):
    from airflow.sdk.bases.operator import ExecutorSafeguard

    operator = make(tmp_path)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(CONTEXT)
    assert list(tmp_path.iterdir()) == []
    clock.advance(60 * DAY)
    event = asyncio.run(fire(deferred.value.trigger))
    assert deferred.value.method_name == "execute_with_imagery"
    # As Airflow's runner does it: the method is called, and nothing else may call execute.
    monkeypatch.setattr(ExecutorSafeguard, "test_mode", False)
    summary = make(tmp_path).execute_with_imagery(CONTEXT, event)
    assert summary["images"] == summary["table_rows"] == 2


def test_the_series_operator_fails_when_waiting_ended_without_imagery(tmp_path):
    with pytest.raises(AirflowFailException, match="No imagery came: the deadline has passed"):
        make(tmp_path).execute_with_imagery(
            CONTEXT, {"status": "timeout", "images": 0, "message": "the deadline has passed"}
        )
