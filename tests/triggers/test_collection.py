"""The trigger of many operations tells when the worker has something to do, and keeps no operation's name."""

import asyncio
import importlib
import json
import time

import pytest

from airflow_ee.core.errors import FailedPrecondition, PermissionDenied, Unavailable
from airflow_ee.core.resources import Operation
from airflow_ee.triggers import collection as module
from airflow_ee.triggers import watching
from airflow_ee.triggers.collection import EarthEngineCollectionTrigger

MARK = "ae-0123456789ab"


class FakeHook:
    """Tells looks by script, the last one for ever: each is an error, or states of the task's and of others' operations."""

    def __init__(self, *looks, others=()):
        self.looks, self.others, self.cancelled, self.count = list(looks), list(others), [], 0

    async def list_operations(self):
        self.count += 1
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(look, Exception):
            raise look
        own = [operation(number, state, f"x-{MARK}-ba9876543210-1") for number, state in enumerate(look)]
        return own + [operation(1000 + number, state, "other") for number, state in enumerate(self.others)]

    async def cancel_operation(self, name):
        self.cancelled.append(name)
        if name.endswith("/1"):
            raise FailedPrecondition("too late")


def operation(number, state, description):
    name = f"projects/demo-project/operations/{number}"
    return Operation(name=name, state=state, description=description, eecu_seconds=10.0)


@pytest.fixture
def make(monkeypatch):
    """Makes a trigger that asks a fake hook; each hook has a connection, and so a poller, of its own."""

    def make(hook, **arguments):
        trigger = EarthEngineCollectionTrigger(
            **{"task_mark": MARK, "poll_interval": 0.01, "gcp_conn_id": f"hook-{id(hook)}", **arguments}
        )
        monkeypatch.setattr(trigger, "_make_hook", lambda: hook)
        return trigger

    return make


async def first_event(trigger):
    return (await anext(trigger.run())).payload


async def still_waits(trigger, seconds=0.3):
    waiting = asyncio.ensure_future(anext(trigger.run()))
    done, _ = await asyncio.wait([waiting], timeout=seconds)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    return not done


def test_it_survives_a_round_trip_through_json():
    arguments = {
        "task_mark": MARK,
        "underway_at_most": 5,
        "pending_at_most": 7,
        "project_id": "demo-project",
        "gcp_conn_id": "mine",
        "impersonation_chain": ["a@example.com", "b@example.com"],
        "poll_interval": 5.0,
        "deadline": 1.5,
        "cancel_on_kill": False,
        "stuck_after_seconds": 600.0,
        "max_eecu_seconds": 50.0,
    }
    path, kwargs = EarthEngineCollectionTrigger(**arguments).serialize()
    assert kwargs == arguments
    name, _, cls = path.rpartition(".")
    again = getattr(importlib.import_module(name), cls)(**json.loads(json.dumps(kwargs)))
    assert again.serialize() == (path, kwargs)


async def test_it_waits_for_the_last_one(make):
    hook = FakeHook(["RUNNING", "PENDING"], ["SUCCEEDED", "CANCELLING"], ["SUCCEEDED", "FAILED"], others=["RUNNING"])
    assert await first_event(make(hook)) == {"status": "room", "operations": [], "message": ""}
    assert hook.count == 3


async def test_it_is_done_at_once_where_there_is_nothing(make):
    assert (await first_event(make(FakeHook([]))))["status"] == "room"


async def test_few_enough_that_go_on_are_room(make):
    assert (await first_event(make(FakeHook(["RUNNING"] * 3), underway_at_most=3)))["status"] == "room"
    assert await still_waits(make(FakeHook(["RUNNING"] * 4), underway_at_most=3))


async def test_the_whole_projects_queue_counts(make):
    full = FakeHook([], others=["PENDING"] * 5)
    assert await still_waits(make(full, pending_at_most=4))
    assert (await first_event(make(full, pending_at_most=5)))["status"] == "room"


async def test_the_deadline_ends_it(make):
    event = await first_event(make(FakeHook(["RUNNING"]), deadline=time.time() + 0.2))
    assert event["status"] == "timeout"


async def test_the_deadline_ends_it_while_the_service_is_away(make):
    event = await first_event(make(FakeHook(Unavailable("x")), deadline=time.time() + 0.2))
    assert event["status"] == "timeout"


async def test_passing_failures_are_waited_out_and_lasting_ones_told(make, monkeypatch):
    assert (await first_event(make(FakeHook(Unavailable("x"), ["SUCCEEDED"]))))["status"] == "room"
    assert (await first_event(make(FakeHook(PermissionDenied("no")))))["status"] == "error"
    monkeypatch.setattr(watching, "TOLERATED_SECONDS", 0.05)
    event = await first_event(make(FakeHook(Unavailable("gone fishing"))))
    assert event["status"] == "error"
    assert "gone fishing" in event["message"]


async def test_stuck_ones_are_named_but_no_more_than_a_few(make):
    event = await first_event(make(FakeHook(["RUNNING"] * 30 + ["PENDING"]), stuck_after_seconds=0.1))
    assert event["status"] == "stuck"
    assert len(event["operations"]) == 20


async def test_more_compute_than_may_be_is_told(make):
    event = await first_event(make(FakeHook(["SUCCEEDED", "RUNNING"]), max_eecu_seconds=15))
    assert event["status"] == "over_budget"


async def test_a_kill_cancels_what_goes_on_and_what_runs_first(make):
    hook = FakeHook(["PENDING", "RUNNING", "SUCCEEDED", "RUNNING"], others=["RUNNING"])
    await make(hook).on_kill()
    assert [name.rsplit("/", 1)[-1] for name in hook.cancelled] == ["1", "3", "0"]


async def test_a_kill_cancels_nothing_where_that_is_wished(make):
    hook = FakeHook(["RUNNING"])
    await make(hook, cancel_on_kill=False).on_kill()
    assert (hook.cancelled, hook.count) == ([], 0)


async def test_a_kill_has_an_end(make, monkeypatch):
    hook = FakeHook(["RUNNING"])

    async def never(_):
        await asyncio.sleep(60)

    monkeypatch.setattr(module, "KILL_SECONDS", 0.2)
    monkeypatch.setattr(hook, "cancel_operation", never)
    started = time.monotonic()
    await make(hook).on_kill()
    assert time.monotonic() - started < 2
