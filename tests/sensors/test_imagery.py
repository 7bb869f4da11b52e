"""The sensor ends when there is enough imagery of an interval, in each of its modes, and tells what there is."""

import asyncio
import copy
import json
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from airflow.sdk import DAG

from airflow_ee.core.errors import ConnectionFailed
from airflow_ee.sensors.imagery import EarthEngineImagerySensor
from tests.imagery import COLLECTION, Incoming
from tests.older_airflow import AirflowRescheduleException, DagSerialization

JUNE = datetime(2024, 6, 1, tzinfo=UTC)
REGION = [10.0, 45.0, 12.0, 46.0]
WEST, EAST = (9.0, 44.0, 11.0, 47.0), (11.0, 44.0, 13.0, 47.0)


@pytest.fixture
def incoming(emulator):
    return Incoming(emulator.root)


@pytest.fixture
def make(connect, emulator, incoming):
    """Makes a sensor against the emulator."""
    connect(endpoint=emulator.url, is_anonymous=True)

    def make(**arguments):
        return EarthEngineImagerySensor(
            **{
                "task_id": "wait", "collection": COLLECTION, "start": "2024-06-01", "end": "2024-07-01",
                "poke_interval": 0.05, "timeout": 10, "request_retries": 0, **arguments,
            }
        )  # fmt: skip

    return make


@pytest.fixture
def context():
    first = datetime.now(UTC)
    return {"params": {}, "ti": SimpleNamespace(get_first_reschedule_date=lambda _: first)}


def later(seconds, action, *arguments, **options):
    """Do something while the sensor waits."""

    async def wait():
        await asyncio.sleep(seconds)
        await asyncio.to_thread(action, *arguments, **options)

    return wait()


def deferral(sensor, context):
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(context)
    return deferred.value


async def fire(trigger):
    return (await asyncio.wait_for(anext(trigger.run()), 20)).payload


class TestResult:
    def test_it_tells_what_there_is_in_small_json(self, make, context, incoming):
        for day in range(25):
            incoming.put(f"i{day:02}", JUNE + timedelta(days=day), footprint=WEST)
        newest = incoming.put("last", JUNE + timedelta(days=26), updated=datetime(2030, 1, 2, tzinfo=UTC))
        incoming.put("after", datetime(2024, 7, 1, tzinfo=UTC))
        result = make().execute(context)
        assert result["image_count"] == 26
        assert len(result["image_ids"]) == 20
        assert result["image_ids"][-1] == newest
        assert result["first_image_time"] == "2024-06-01T00:00:00+00:00"
        assert result["last_image_time"] == "2024-06-27T00:00:00+00:00"
        assert datetime.fromisoformat(result["update_time"]) == datetime(2030, 1, 2, tzinfo=UTC)
        assert (result["source"], result["coverage"], result["simulated"]) == (COLLECTION, None, False)
        assert (result["start"], result["end"]) == ("2024-06-01T00:00:00+00:00", "2024-07-01T00:00:00+00:00")
        assert len(json.dumps(result)) < 4000

    def test_coverage_is_told_of_a_region_and_filters_leave_images_out(self, make, context, incoming):
        incoming.put("a", JUNE, footprint=WEST, CLOUDS=10)
        incoming.put("b", JUNE, footprint=EAST, CLOUDS=90)
        assert make(region=REGION).execute(context)["coverage"] == 1.0
        result = make(region=json.dumps(REGION), filters="CLOUDS<40").execute(context)
        assert (result["coverage"], result["image_count"]) == (0.5, 1)

    def test_a_region_may_be_a_file(self, make, context, incoming, tmp_path):
        incoming.put("a", JUNE, footprint=WEST)
        box = {"type": "Polygon", "coordinates": [[[10, 45], [12, 45], [12, 46], [10, 46], [10, 45]]]}
        (tmp_path / "area.geojson").write_text(json.dumps(box))
        assert make(region=str(tmp_path / "area.geojson")).execute(context)["coverage"] == 0.5

    def test_a_preset_is_a_collection_and_its_imagery_is_told_to_be_simulated(self, make, context):
        result = make(collection="MOD13Q1", region=[-55.6, -12.1, -55.5, -12.0], min_images="2").execute(context)
        assert (result["source"], result["simulated"], result["coverage"]) == ("MODIS/061/MOD13Q1", True, 1.0)

    def test_dates_come_from_params_and_from_the_data_interval_too(self, make, context, incoming):
        incoming.put("a", JUNE)
        typed = {**context, "params": {"start": "2024-06-01", "end": "2024-06-02"}}
        assert make(start=None, end=None).execute(typed)["end"] == "2024-06-02T00:00:00+00:00"
        interval = {"data_interval_start": JUNE, "data_interval_end": JUNE + timedelta(days=3)}
        assert make(start=None, end=None).execute({**context, **interval})["end"] == "2024-06-04T00:00:00+00:00"
        with pytest.raises(AirflowFailException, match="no dates"):
            make(start=None, end=None).execute(context)

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"min_images": 0}, "min_images must be at least 1"),
            ({"min_coverage": 1.5, "region": REGION}, "min_coverage is a fraction"),
            ({"min_coverage": 0.5}, "min_coverage needs a region"),
            ({"filters": "CLOUDS"}, "filters: each must be"),
            ({"collection": "local/unknown"}, "local/unknown"),
        ],
    )
    def test_what_can_never_be_met_fails_at_once(self, make, context, arguments, words):
        with pytest.raises(AirflowFailException, match=words):
            make(**arguments).execute(context)


class TestModes:
    async def test_poking_waits_in_the_worker(self, make, context, incoming):
        sensor = make(min_images=2)
        incoming.put("a", JUNE)
        waiting = asyncio.create_task(asyncio.to_thread(sensor.execute, context))
        await later(0.3, incoming.put, "b", JUNE)
        assert (await asyncio.wait_for(waiting, 10))["image_count"] == 2

    def test_rescheduling_leaves_the_worker_in_between(self, make, context, incoming):
        with pytest.raises(AirflowRescheduleException):
            make(mode="reschedule").execute(context)
        incoming.put("a", JUNE)
        assert make(mode="reschedule").execute(context)["image_count"] == 1

    async def test_deferring_waits_in_the_triggerer_for_coverage(self, make, context, incoming):
        incoming.put("a", JUNE, footprint=WEST)
        arguments = {"deferrable": True, "region": REGION, "min_coverage": 0.9}
        deferred = await asyncio.to_thread(deferral, make(**arguments), context)
        waiting = asyncio.create_task(fire(deferred.trigger))
        await later(0.5, incoming.put, "c", JUNE, footprint=WEST)
        await asyncio.sleep(0.3)
        assert not waiting.done(), "a second image of the same half covers no more"
        await later(0, incoming.put, "b", JUNE, footprint=EAST)
        event = await waiting
        assert (event["status"], event["images"], event["coverage"]) == ("done", 3, 1.0)
        resume = make(**arguments).resume_execution
        result = await asyncio.to_thread(resume, deferred.method_name, {"event": event}, context)
        assert (result["image_count"], result["coverage"]) == (3, 1.0)

    def test_what_is_there_is_not_deferred(self, make, context, incoming):
        incoming.put("a", JUNE)
        assert make(deferrable=True).execute(context)["image_count"] == 1

    def test_a_service_that_is_busy_is_asked_again_with_a_task_retry(self, make, context, emulator, incoming):
        incoming.put("a", JUNE)
        emulator.inject("assets.listAssets", "503")
        assert make(request_retries=2).execute(context)["image_count"] == 1
        with pytest.raises(ConnectionFailed, match="gone"):
            make(start="2020-01-01", end="2020-01-02", deferrable=True).execute_complete(
                context, {"status": "error", "images": 0, "coverage": None, "message": "gone"}
            )


class TestTimeout:
    @pytest.mark.parametrize("mode", [{}, {"mode": "reschedule"}])
    def test_the_whole_wait_ends(self, make, context, mode):
        context["ti"].get_first_reschedule_date = lambda _: datetime.now(UTC) - timedelta(seconds=1)
        with pytest.raises(AirflowSensorTimeout):
            make(timeout=0.2, **mode).execute(context)
        with pytest.raises(AirflowSkipException):
            make(timeout=0.2, soft_fail=True, **mode).execute(context)

    async def test_the_triggers_deadline_ends_it(self, make, context):
        sensor = make(timeout=0.3, deferrable=True)
        deferred = await asyncio.to_thread(deferral, sensor, context)
        assert deferred.timeout > timedelta(seconds=100), "Airflow's own limit comes after the trigger's"
        event = await fire(deferred.trigger)
        assert event["status"] == "timeout"
        for soft_fail, error in ((False, AirflowSensorTimeout), (True, AirflowSkipException)):
            with pytest.raises(error):
                await asyncio.to_thread(
                    make(deferrable=True, soft_fail=soft_fail).resume_execution,
                    "execute_complete",
                    {"event": event},
                    context,
                )

    def test_airflows_own_timeout_of_the_deferral_is_the_sensors(self, make, context):
        with pytest.raises(AirflowSensorTimeout):
            make(deferrable=True).resume_execution("__fail__", {"error": "Trigger timeout"}, context)

    @pytest.mark.parametrize("arguments", [{}, {"deferrable": True}])
    def test_soft_fail_skips_what_can_never_be_met(self, make, context, arguments):
        with pytest.raises(AirflowSkipException):
            make(min_coverage=0.5, soft_fail=True, **arguments).execute(context)


class TestLatency:
    """Imagery of an interval that ended a moment ago is due in some days."""

    @pytest.fixture
    def recent(self):
        now = datetime.now(UTC)
        return {"start": (now - timedelta(days=1)).isoformat(), "end": now.isoformat(), "poke_interval": 60}

    def test_what_is_there_already_is_not_waited_for(self, make, context, incoming, recent):
        incoming.put("a", datetime.now(UTC) - timedelta(hours=1))
        assert make(**recent, latency=timedelta(days=9)).execute(context)["image_count"] == 1

    def test_the_second_look_is_when_imagery_is_due(self, make, context, recent):
        sensor = make(**recent, latency=timedelta(days=2), timeout=timedelta(days=5), mode="reschedule")
        with pytest.raises(AirflowRescheduleException) as raised:
            sensor.execute(context)
        due = datetime.fromisoformat(recent["end"]) + timedelta(days=2)
        assert abs(raised.value.reschedule_date - due) < timedelta(seconds=10)
        deferred = deferral(make(**recent, latency=timedelta(days=2), timeout=3600, deferrable=True), context)
        assert deferred.trigger.not_before == pytest.approx(due.timestamp(), abs=10)
        assert deferred.trigger.deadline == pytest.approx(time.time() + 3600, abs=10)

    def test_overdue_imagery_is_looked_for_at_the_usual_pace(self, make, context):
        with pytest.raises(AirflowRescheduleException) as raised:
            make(latency=timedelta(days=2), mode="reschedule", poke_interval=60).execute(context)
        assert abs(raised.value.reschedule_date - datetime.now(UTC) - timedelta(seconds=60)) < timedelta(seconds=10)

    def test_nobody_waits_beyond_the_timeout_for_what_is_due_later(self, make, context, recent):
        with pytest.raises(AirflowRescheduleException) as raised:
            make(**recent, latency=timedelta(days=2), mode="reschedule", timeout=600).execute(context)
        assert abs(raised.value.reschedule_date - datetime.now(UTC) - timedelta(seconds=600)) < timedelta(seconds=10)

    async def test_the_trigger_gives_up_at_the_deadline_even_so(self, make, context, recent):
        sensor = make(**recent, latency=timedelta(days=2), timeout=0.3, deferrable=True)
        deferred = await asyncio.to_thread(deferral, sensor, context)
        assert (await fire(deferred.trigger))["status"] == "timeout"

    def test_airflows_default_timeout_is_longer_by_it(self):
        plain = EarthEngineImagerySensor(task_id="a", collection="c")
        patient = EarthEngineImagerySensor(task_id="b", collection="c", latency=timedelta(days=8))
        exact = EarthEngineImagerySensor(task_id="c", collection="c", latency=timedelta(days=8), timeout=60)
        assert patient.timeout == plain.timeout + 8 * 86_400
        assert exact.timeout == 60


class TestAirflow:
    def test_every_template_field_is_an_argument_that_is_kept_as_it_came(self):
        fields = EarthEngineImagerySensor.template_fields
        values = {name: f"{{{{ {name} }}}}" for name in fields}
        sensor = EarthEngineImagerySensor(task_id="t", **values)
        assert {name: getattr(sensor, name) for name in fields} == values

    def test_it_can_be_mapped_serialized_and_copied(self):
        with DAG("d", start_date=datetime(2024, 1, 1, tzinfo=UTC), default_args={"timeout": 90}) as dag:
            EarthEngineImagerySensor.partial(task_id="m", mode="reschedule").expand(collection=["A", "B"])
            sensor = EarthEngineImagerySensor(task_id="t", collection="A", latency=timedelta(days=1))
        assert sensor.timeout == 90
        DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
        assert copy.deepcopy(dag).task_ids == ["m", "t"]


def test_a_service_that_is_not_there_is_a_failure_that_airflow_may_retry(connect, context):
    connect(endpoint="http://127.0.0.1:9", is_anonymous=True)
    sensor = EarthEngineImagerySensor(
        task_id="t", collection=COLLECTION, start="2024-06-01", end="2024-07-01", request_retries=0
    )
    with pytest.raises(ConnectionFailed):
        sensor.execute(context)
