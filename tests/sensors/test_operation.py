"""The sensor ends when operations end, in each of its modes, and says why when they fail."""

import asyncio
import copy
import json
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from airflow.sdk import DAG

from airflow_ee.core.batch import ExportImageRequest
from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.errors import ConnectionFailed
from airflow_ee.core.expression import Expression
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.settings import ClientSettings
from airflow_ee.sensors.operation import EarthEngineOperationSensor
from tests.older_airflow import AirflowRescheduleException, DagSerialization

CONSTANT = {"functionInvocationValue": {"functionName": "Image.constant", "arguments": {"value": {"constantValue": 1}}}}
GRID = PixelGrid(crs="EPSG:32633", transform=(10, 0, 5e5, 0, -10, 4e6), width=4, height=4)


@pytest.fixture
def client(emulator):
    return EarthEngineClient(
        ClientSettings(project="demo-project", endpoint=emulator.url, high_volume_endpoint=emulator.url)
    )


@pytest.fixture
def start(emulator, client):
    """Starts an operation with a fate: '' is success, else a fault of the emulator; waits for its end if it has one."""
    numbers = iter(range(100))

    def start(fate=""):
        if fate:
            emulator.inject("image:export", fate)
        number = next(numbers)
        request = ExportImageRequest(
            expression=Expression.parse({"result": "0", "values": {"0": CONSTANT}}),
            description=f"export-{number}",
            grid=GRID,
            file_export_options={
                "fileFormat": "GEO_TIFF",
                "cloudStorageDestination": {"bucket": "demo-bucket", "filenamePrefix": f"x{number}"},
            },
        )
        name = client.start_operation(request, request_id=f"r-{number}").name
        while fate != "stuck" and not client.get_operation(name).done:
            time.sleep(0.01)
        return name

    return start


@pytest.fixture
def cancelled(start, client):
    """Starts an operation and cancels it."""

    def cancel():
        name = start("stuck")
        client.cancel_operation(name)
        while not client.get_operation(name).done:
            time.sleep(0.01)
        return name

    return cancel


@pytest.fixture
def make(connect, emulator):
    """Makes a sensor against the emulator."""
    connect(endpoint=emulator.url)

    def make(names, **arguments):
        arguments = {"task_id": "wait", "poke_interval": 0.05, "timeout": 10, **arguments}
        return EarthEngineOperationSensor(operation_name=names, **arguments)

    return make


@pytest.fixture
def context():
    xcoms = {}

    def push(key, value):
        xcoms[key] = value

    return {"ti": SimpleNamespace(xcoms=xcoms, xcom_push=push, get_first_reschedule_date=lambda _: None)}


class TestNames:
    def test_full_names_ids_lists_and_results_are_understood(self, make, context, start):
        first, second = start(), start()
        forms = [
            first,
            first.rsplit("/", 1)[-1],
            [first, second],
            {"operation": first, "state": "PENDING"},
            [{"operation": first}, second],
            ({"operation": name} for name in (first, second)),
            json.dumps([first, second]),
            str([{"operation": first, "uris": []}, {"operation": second}]),
            json.dumps({"operation": first}),
        ]
        for form in forms:
            result = make(form).execute(context)
            assert result[0]["operation"] == first
            assert {item["state"] for item in result} == {"SUCCEEDED"}

    def test_results_are_those_of_exports_in_the_order_of_the_names(self, make, context, start):
        names = [start() for _ in range(3)][::-1]
        result = make([*names, names[0]]).execute(context)
        assert [item["operation"] for item in result] == names
        assert set(result[0]) >= {"uris", "uri_count", "eecu_seconds", "attempt", "start", "end"}
        json.dumps(result)

    def test_an_empty_list_is_done_at_once(self, make, context, emulator):
        for mode in ({}, {"deferrable": True}, {"mode": "reschedule"}):
            assert make([], **mode).execute(context) == []
        assert make("[]").execute(context) == []
        assert emulator.calls == []

    @pytest.mark.parametrize(
        ("names", "words"),
        [
            ("", "operation_name must be"),
            ("a/b", "operation_name must be projects/"),
            ({"state": "PENDING"}, "expected what an export returned"),
            (3, "operation_name must be a name"),
            ("[broken", "neither JSON nor a name"),
        ],
    )
    def test_what_is_no_name_is_refused_before_anything_is_sent(self, make, context, emulator, names, words):
        with pytest.raises(AirflowFailException, match=words):
            make(names).execute(context)
        assert emulator.calls == []

    @pytest.mark.parametrize("arguments", [{"wait_for": "some"}, {"on_cancelled": "ignore"}])
    def test_unknown_choices_are_refused_by_name(self, make, context, arguments):
        (name,) = arguments
        with pytest.raises(AirflowFailException, match=f"{name} must be one of"):
            make(["A"], **arguments).execute(context)

    @pytest.mark.parametrize("arguments", [{}, {"deferrable": True}, {"mode": "reschedule"}])
    def test_an_unknown_operation_fails_at_once(self, make, context, emulator, arguments):
        with pytest.raises(AirflowFailException, match=r"not found.*\[NOT_FOUND\]"):
            make("NOSUCHOPERATION", **arguments).execute(context)
        assert len(emulator.calls) == 1


class TestOutcomes:
    def test_a_failure_ends_it_with_the_services_words(self, make, context, start):
        names = [start(), start("fail code=INTERNAL An internal error."), start("stuck")]
        with pytest.raises(AirflowFailException, match=r"1 of 3 operations failed: .*An internal error"):
            make(names).execute(context)

    def test_any_is_content_with_one_success(self, make, context, start):
        names = [start("fail Out of memory."), start(), start("stuck")]
        result = make(names, wait_for="any").execute(context)
        assert [item["state"] for item in result][:2] == ["FAILED", "SUCCEEDED"]

    def test_any_fails_when_none_can_succeed(self, make, context, start):
        names = [start("fail First words."), start("fail Second words.")]
        with pytest.raises(AirflowFailException, match=r"2 of 2 operations failed: .*First words.*Second words"):
            make(names, wait_for="any").execute(context)

    def test_a_cancelled_operation_fails_or_skips_as_wished(self, make, context, cancelled):
        name = cancelled()
        with pytest.raises(AirflowFailException, match="CANCELLED"):
            make(name).execute(context)
        with pytest.raises(AirflowSkipException):
            make(name, on_cancelled="skip").execute(context)

    def test_a_failure_counts_more_than_a_cancelled_one(self, make, context, start, cancelled):
        with pytest.raises(AirflowFailException, match="2 of 2"):
            make([cancelled(), start("fail No.")], on_cancelled="skip", wait_for="any").execute(context)

    @pytest.mark.parametrize("arguments", [{}, {"deferrable": True}])
    def test_soft_fail_skips(self, make, context, start, arguments):
        with pytest.raises(AirflowSkipException):
            make(start("fail No."), soft_fail=True, **arguments).execute(context)


class TestModes:
    def test_poking_waits_in_the_worker(self, make, context, start, emulator):
        emulator.inject("operations.get", "503")
        assert make(start()).execute(context)[0]["state"] == "SUCCEEDED"

    def test_rescheduling_leaves_the_worker_in_between(self, make, context, start, client):
        name = start("stuck")
        with pytest.raises(AirflowRescheduleException):
            make(name, mode="reschedule").execute(context)
        client.cancel_operation(name)
        while not client.get_operation(name).done:
            time.sleep(0.01)
        with pytest.raises(AirflowSkipException):
            make(name, mode="reschedule", on_cancelled="skip").execute(context)

    async def test_deferring_waits_in_the_triggerer(self, make, context, start, client):
        name = await asyncio.to_thread(start, "stuck")
        sensor = make(name, deferrable=True, on_cancelled="skip")
        with pytest.raises(TaskDeferred) as deferral:
            await asyncio.to_thread(sensor.execute, context)
        trigger = deferral.value.trigger
        assert not trigger.cancel_on_kill
        assert trigger.deadline == pytest.approx(time.time() + 10, abs=3)
        await asyncio.to_thread(client.cancel_operation, name)
        event = await anext(trigger.run())
        again = make(name, deferrable=True, on_cancelled="skip")
        with pytest.raises(AirflowSkipException):
            await asyncio.to_thread(again.resume_execution, "execute_complete", {"event": event.payload}, context)

    def test_the_result_comes_back_from_a_deferral(self, make, context, start):
        name = start()
        event = {"status": "done", "operations": [name], "message": ""}
        result = make(name, deferrable=True).resume_execution("execute_complete", {"event": event}, context)
        assert result[0]["state"] == "SUCCEEDED"

    def test_what_is_done_is_not_deferred(self, make, context, start):
        assert make(start(), deferrable=True).execute(context)[0]["state"] == "SUCCEEDED"

    def test_a_trigger_that_could_not_look_is_a_failure_to_retry(self, make, context, start):
        name = start("stuck")
        event = {"status": "error", "operations": [name], "message": "gone"}
        with pytest.raises(ConnectionFailed, match="gone"):
            make(name, deferrable=True).execute_complete(context, event)


@pytest.mark.parametrize("cancel", [True, False])
class TestTimeout:
    def test_poking_times_out_and_cancels_if_so_wished(self, make, context, start, emulator, cancel):
        names = [start(), start("stuck")]
        with pytest.raises(AirflowSensorTimeout):
            make(names, timeout=0.1, cancel_on_timeout=cancel).execute(context)
        assert emulator.calls.count("operations.cancel") == int(cancel)

    def test_soft_fail_cancels_too(self, make, context, start, emulator, cancel):
        with pytest.raises(AirflowSkipException):
            make(start("stuck"), timeout=0.1, cancel_on_timeout=cancel, soft_fail=True).execute(context)
        assert emulator.calls.count("operations.cancel") == int(cancel)

    def test_the_triggers_deadline_does(self, make, context, start, emulator, cancel):
        name = start("stuck")
        event = {"status": "timeout", "operations": [name], "message": "late"}
        with pytest.raises(AirflowSensorTimeout, match=f"{name} did not end within 10 s"):
            make(name, deferrable=True, cancel_on_timeout=cancel).execute_complete(context, event)
        assert emulator.calls.count("operations.cancel") == int(cancel)

    def test_airflows_own_timeout_of_the_deferral_does(self, make, context, start, emulator, cancel):
        name = start("stuck")
        with pytest.raises(AirflowSensorTimeout):
            make(name, deferrable=True, cancel_on_timeout=cancel).resume_execution(
                "__fail__", {"error": "Trigger timeout"}, context
            )
        assert emulator.calls.count("operations.cancel") == int(cancel)


class TestAirflow:
    def test_the_link_leads_to_the_first_operation(self, make, context, start, emulator):
        name = start()
        make(name).execute(context)
        assert list(context["ti"].xcoms.values()) == [f"{emulator.url}/v1/{name}"]

    def test_every_template_field_is_an_argument_that_is_kept_as_it_came(self):
        fields = EarthEngineOperationSensor.template_fields
        values = {name: f"{{{{ {name} }}}}" for name in fields}
        sensor = EarthEngineOperationSensor(task_id="t", **values)
        assert {name: getattr(sensor, name) for name in fields} == values

    def test_it_can_be_mapped_serialized_and_copied(self):
        with DAG("d", start_date=datetime(2024, 1, 1, tzinfo=UTC)) as dag:
            EarthEngineOperationSensor.partial(task_id="m", mode="reschedule").expand(operation_name=["A", "B"])
            EarthEngineOperationSensor(task_id="t", operation_name=["A"])
        DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
        assert copy.deepcopy(dag).task_ids == ["m", "t"]


class TestDescriptions:
    def test_all_that_have_the_pattern_are_waited_for(self, make, context, start):
        start(), start()
        result = make(None, description="export-*", min_operations=2).execute(context)
        assert [item["description"] for item in result] == ["export-0", "export-1"]
        assert [item["description"] for item in make(None, description="*-1").execute(context)] == ["export-1"]

    def test_it_waits_until_enough_are_there(self, make, context, start):
        start()
        with pytest.raises(AirflowSensorTimeout):
            make(None, description="export-*", min_operations=2, timeout=0.3).execute(context)

    def test_older_ones_do_not_count(self, make, context, start):
        start()
        with pytest.raises(AirflowSensorTimeout):
            make(None, description="export-*", since="2999-01-01", timeout=0.3).execute(context)
        assert make(None, description="export-*", since="2001-01-01T00:00:00Z").execute(context)

    def test_those_that_failed_are_named(self, make, context, start):
        start("fail code=INVALID_ARGUMENT Too large."), start()
        with pytest.raises(AirflowFailException, match="1 of 2 operations failed: .*Too large"):
            make(None, description="export-*").execute(context)

    async def test_the_trigger_hears_of_operations_that_begin_later(self, make, context, start):
        sensor = make(None, description="export-*", min_operations=2, deferrable=True)
        await asyncio.to_thread(start)
        with pytest.raises(TaskDeferred) as deferral:
            await asyncio.to_thread(sensor.execute, context)
        path, kwargs = deferral.value.trigger.serialize()
        assert path == "airflow_ee.triggers.description.EarthEngineDescriptionTrigger"
        trigger = type(deferral.value.trigger)(**json.loads(json.dumps(kwargs)))
        waiting = asyncio.create_task(anext(trigger.run()))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        await asyncio.to_thread(start)
        event = (await asyncio.wait_for(waiting, 10)).payload
        assert event["status"] == "done"
        result = await asyncio.to_thread(
            make(None, description="export-*", min_operations=2).execute_complete, context, event
        )
        assert len(result) == 2

    @pytest.mark.parametrize("arguments", [{"names": None}, {"names": "A", "description": "export-*"}])
    def test_names_or_a_pattern_have_to_be_given(self, make, context, arguments):
        with pytest.raises(AirflowFailException, match="exactly one of operation_name and description"):
            make(arguments.pop("names"), **arguments).execute(context)


def test_many_operations_cost_one_reading_of_the_list(make, context, start, emulator):
    names = [start() for _ in range(8)]
    before = emulator.calls.count("operations.get")
    assert len(make(names).execute(context)) == 8
    assert emulator.calls.count("operations.get") == before
