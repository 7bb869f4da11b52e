"""A task waits for room in the queue, keeps to its budgets, and does not wait for ever for an operation that is stuck."""

import asyncio
import contextlib
import importlib
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.errors import OperationStuck
from airflow_ee.core.resources import Operation
from airflow_ee.core.settings import ClientSettings
from airflow_ee.emulator import Emulator
from airflow_ee.operators.export import EarthEngineExportImageOperator
from airflow_ee.triggers.queue import EarthEngineQueueTrigger

PROJECT = "demo-project"


@pytest.fixture
def pending_seconds():
    """How long operations wait in the queue."""
    return 0.0


@pytest.fixture
def emulator(connect, pending_seconds):
    with Emulator(running_seconds=0.1, pending_seconds=pending_seconds) as running:
        connect(endpoint=running.url, is_anonymous=True)
        yield running


@pytest.fixture
def client(emulator):
    with EarthEngineClient(ClientSettings(project=PROJECT, endpoint=emulator.url)) as made:
        yield made


@pytest.fixture
def make(graph, grid):
    def make(**arguments):
        arguments = {"destination_uri": "gs://demo-bucket/x", "poll_interval": 0.05, "project_id": PROJECT, **arguments}
        return EarthEngineExportImageOperator(task_id="export", expression=graph, grid=grid, **arguments)

    return make


def deferred(operator, context):
    with pytest.raises(TaskDeferred) as deferral:
        operator.execute(context)
    return deferral.value


def moved(trigger):
    """The trigger in another triggerer."""
    path, kwargs = trigger.serialize()
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)(**kwargs)


async def events_of(*triggers):
    async def first(trigger):
        return (await anext(trigger.run())).payload

    return await asyncio.gather(*(first(trigger) for trigger in triggers))


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def fill(emulator, make, make_context, count):
    """Operations that wait in the queue until they are cancelled."""
    return [
        make(wait_for_completion=False, max_pending_operations=None).execute(make_context(task_id=f"before-{number}"))["operation"]
        for number in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("pending_seconds", [600.0])
class TestQueue:
    def test_a_deferrable_task_waits_for_its_turn_and_starts_one_operation(self, emulator, client, make, make_context):
        waiting = fill(emulator, make, make_context, 3)
        operator, context = make(deferrable=True, max_pending_operations=3), make_context()
        deferral = deferred(operator, context)
        assert deferral.method_name == "execute_with_room"
        assert len(emulator.operations) == 3, "nothing was asked for"
        client.cancel_operation(waiting[0])
        (event,) = asyncio.run(events_of(moved(deferral.trigger)))
        assert event["status"] == "room"
        again = make(deferrable=True, max_pending_operations=3)
        with pytest.raises(TaskDeferred) as started:
            again.execute_with_room(context, event, **deferral.kwargs)
        assert started.value.method_name == "execute_complete"
        assert len(emulator.operations) == 4

    def test_a_task_in_a_worker_waits_there(self, emulator, client, make, make_context):
        waiting = fill(emulator, make, make_context, 1)
        operator = make(max_pending_operations=1, wait_for_completion=False)
        looks = []
        slept = time.sleep

        def sleep(seconds):
            looks.append(seconds)
            if len(looks) == 2:
                client.cancel_operation(waiting[0])
            slept(min(seconds, 0.05))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("airflow_ee.operators.export_base.time.sleep", sleep)
            assert operator.execute(make_context())["state"] == "PENDING"
        assert len(looks) >= 2

    @pytest.mark.parametrize("kept", [True, False])
    def test_an_id_that_was_refused_is_not_asked_under_again(self, emulator, make, make_context, store, kept):
        context = make_context(store=store if kept else None)
        emulator.inject("image:export", "400 queue")
        deferral = deferred(make(deferrable=True), context)
        (event,) = asyncio.run(events_of(moved(deferral.trigger)))
        again = make(wait_for_completion=False)
        result = again.execute_with_room(context, event, **deferral.kwargs)
        assert result["description"].endswith("-2")
        assert emulator.calls.count("image:export") == 2
        if kept:
            other = make(wait_for_completion=False).execute(make_context(store=store))
            assert other["operation"] == result["operation"]

    async def test_no_more_go_than_there_is_room_for_and_the_first_go_first(self, emulator):
        triggers = [EarthEngineQueueTrigger(max_pending_operations=4, poll_interval=60) for _ in range(5)]
        waiting = {
            name: Operation(name=name, state=state)
            for name, state in (("a", "PENDING"), ("b", "PENDING"), ("c", "RUNNING"))
        }
        with contextlib.ExitStack() as line:
            watches = [line.enter_context(trigger.watch()) for trigger in triggers]
            events = [trigger.judge(watch, waiting) for trigger, watch in zip(triggers, watches, strict=True)]
        assert [event is not None for event in events] == [True, True, False, False, False]

    def test_the_turn_has_a_deadline_and_a_service_out_of_reach_is_told(self, emulator, make, make_context):
        fill(emulator, make, make_context, 1)
        operator = make(deferrable=True, max_pending_operations=1, execution_timeout=timedelta(seconds=0.3))
        deferral = deferred(operator, make_context())
        (event,) = asyncio.run(events_of(moved(deferral.trigger)))
        assert event["status"] == "timeout"
        with pytest.raises(TimeoutError, match="no room in time; nothing was started"):
            make().execute_with_room(make_context(), event, **deferral.kwargs)
        emulator.inject("operations.list", "403")
        deferral.trigger.deadline = None
        (event,) = asyncio.run(events_of(moved(deferral.trigger)))
        assert event["status"] == "error"


class TestBudgets:
    def test_an_operation_over_its_budget_is_cancelled_and_not_tried_again(self, emulator, client, make, make_context):
        emulator.inject("image:export", "stuck")
        operator = make(max_eecu_seconds=1e-9, deferrable=True)
        context = make_context()
        deferral = deferred(operator, context)
        name = deferral.trigger.operation_names[0]
        wait_until(lambda: client.get_operation(name).eecu_seconds)
        (event,) = asyncio.run(events_of(moved(deferral.trigger)))
        assert event["status"] == "over_budget"
        with pytest.raises(AirflowFailException, match=r"EECU seconds of 1e-09. It was cancelled"):
            make(max_eecu_seconds=1e-9).execute_complete(context, event)
        wait_until(lambda: client.get_operation(name).state == "CANCELLED")

    def test_so_is_one_that_is_waited_for_in_the_worker(self, emulator, client, make, make_context):
        emulator.inject("image:export", "stuck")
        with pytest.raises(AirflowFailException, match="It was cancelled"):
            make(max_eecu_seconds=1e-9).execute(make_context())

    def test_a_run_that_has_used_its_budget_up_starts_no_more(self, emulator, make, make_context):
        dag = SimpleNamespace(task_ids=["first", "second", "mapped"])
        for identity in ({"task_id": "first"}, {"task_id": "mapped", "map_index": 7}):
            make().execute({**make_context(**identity), "dag": dag})
        other = {**make_context(task_id="first", run_id="another"), "dag": dag}
        make(max_run_eecu_seconds=1e-9).execute(other)
        before = len(emulator.operations)
        with pytest.raises(AirflowFailException, match="of this DAG run have used .* EECU seconds of 1e-09"):
            make(max_run_eecu_seconds=1e-9).execute({**make_context(task_id="second"), "dag": dag})
        assert len(emulator.operations) == before
        used = sum(operation["metadata"].get("batchEecuUsageSeconds", 0) for operation in emulator.operations[:2])
        make(max_run_eecu_seconds=used * 1.01).execute({**make_context(task_id="second"), "dag": dag})
        assert len(emulator.operations) == before + 1


class TestStuck:
    def test_it_fails_and_is_cancelled(self, emulator, client, make, make_context):
        emulator.inject("image:export", "stuck")
        with pytest.raises(OperationStuck, match="nothing of it changes. It was cancelled"):
            make(stuck_after_seconds=0.3).execute(make_context())
        wait_until(lambda: emulator.operations[0]["metadata"]["state"] == "CANCELLED")

    def test_it_goes_on_where_nothing_is_cancelled_late(self, emulator, client, make, make_context):
        emulator.inject("image:export", "stuck")
        with pytest.raises(OperationStuck, match="It goes on"):
            make(stuck_after_seconds=0.3, cancel_on_timeout=False).execute(make_context())
        time.sleep(0.3)
        assert emulator.operations[0]["metadata"]["state"] == "RUNNING"

    @pytest.mark.parametrize("deferrable", [False, True])
    def test_it_is_started_again_when_that_is_wished(self, emulator, client, make, make_context, store, deferrable):
        emulator.inject("image:export", "stuck")
        context = make_context(store=store)
        arguments = {"stuck_after_seconds": 0.5, "on_stuck": "restart"}
        if deferrable:
            deferral = deferred(make(deferrable=True, **arguments), context)
            (event,) = asyncio.run(events_of(moved(deferral.trigger)))
            assert event["status"] == "stuck"
            result = make(**arguments).execute_complete(context, event)
        else:
            result = make(**arguments).execute(context)
        assert result["state"] == "SUCCEEDED"
        assert [item["metadata"]["state"] for item in emulator.operations] == ["CANCELLED", "SUCCEEDED"]

    @pytest.mark.parametrize("pending_seconds", [600.0])
    def test_one_that_waits_in_the_queue_is_not_stuck(self, emulator, client, make, make_context):
        name = fill(emulator, make, make_context, 1)[0]
        context = make_context(task_id="before-0")
        deferral = deferred(make(stuck_after_seconds=0.2, deferrable=True, max_pending_operations=None), context)
        assert deferral.trigger.operation_names == [name]

        async def wait():
            task = asyncio.create_task(events_of(moved(deferral.trigger)))
            await asyncio.sleep(1.0)
            assert not task.done()
            await asyncio.to_thread(client.cancel_operation, name)
            return await task

        (event,) = asyncio.run(wait())
        assert event["status"] == "done"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stuck_after_seconds": 0}, "stuck_after_seconds must be above 0"),
        ({"max_eecu_seconds": -1}, "max_eecu_seconds must be above 0"),
        ({"max_run_eecu_seconds": 0}, "max_run_eecu_seconds must be above 0"),
        ({"max_pending_operations": 0}, "max_pending_operations must be at least 1"),
        ({"on_stuck": "shrug"}, "on_stuck must be one of fail, restart"),
    ],
)
def test_limits_that_make_no_sense_are_refused(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)
