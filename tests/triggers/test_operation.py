"""The trigger polls, tells, keeps its own deadline, and cancels only what a user killed."""

import asyncio
import importlib
import json
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from airflow_ee.core.errors import NotFound, Unavailable
from airflow_ee.core.resources import Operation
from airflow_ee.triggers import cancelling, watching
from airflow_ee.triggers import operation as module
from airflow_ee.triggers.operation import EarthEngineOperationTrigger, settled

NAME = "projects/demo-project/operations/A"
OTHER = "projects/demo-project/operations/B"


class FakeHook:
    """Tells states by script: each name has a list, whose last state stays."""

    def __init__(self, **states):
        self.states = {f"projects/demo-project/operations/{key}": list(value) for key, value in states.items()}
        self.calls = []

    async def get_operation(self, name):
        self.calls.append(("get", name))
        return self._next(name)

    async def list_operations(self):
        self.calls.append(("list",))
        return [self._next(name) for name in self.states]

    async def cancel_operation(self, name):
        self.calls.append(("cancel", name))
        self.states[name] = ["CANCELLING", "CANCELLED"]

    def _next(self, name):
        states = self.states[name]
        state = states.pop(0) if len(states) > 1 else states[0]
        if isinstance(state, Exception):
            raise state
        return Operation(name=name, state=state)


@pytest.fixture
def make(monkeypatch):
    """Makes a trigger that asks a fake hook."""

    def make(hook, **arguments):
        arguments = {"operation_names": list(hook.states), "poll_interval": 0.01, **arguments}
        trigger = EarthEngineOperationTrigger(**arguments)
        monkeypatch.setattr(trigger, "_make_hook", lambda: hook)
        return trigger

    return make


async def first_event(trigger):
    return (await anext(trigger.run())).payload


class TestSerialization:
    def test_it_survives_a_round_trip_through_json(self):
        arguments = {
            "operation_names": [NAME, OTHER],
            "project_id": "demo-project",
            "gcp_conn_id": "mine",
            "impersonation_chain": ["a@example.com", "b@example.com"],
            "poll_interval": 5.0,
            "wait_for": "any",
            "deadline": 1.5,
            "cancel_on_kill": False,
            "stuck_after_seconds": 600.0,
            "max_eecu_seconds": 50.0,
        }
        path, kwargs = EarthEngineOperationTrigger(**arguments).serialize()
        assert kwargs == arguments
        name, _, cls = path.rpartition(".")
        again = getattr(importlib.import_module(name), cls)(**json.loads(json.dumps(kwargs)))
        assert again.serialize() == (path, kwargs)

    def test_a_chain_given_as_tuple_becomes_json(self):
        trigger = EarthEngineOperationTrigger(operation_names=[NAME], impersonation_chain=("a", "b"))
        assert trigger.serialize()[1]["impersonation_chain"] == ["a", "b"]

    def test_the_module_is_light(self):
        code = (
            "import sys, airflow_ee.triggers.operation; print([m for m in sys.modules "
            "if m.startswith(('airflow.providers.google.common', 'numpy', 'rasterio', 'requests.', 'pyproj'))])"
        )
        before = (
            "import sys, airflow.triggers.base; print([m for m in sys.modules if m.startswith(('numpy', 'requests.'))])"
        )
        run = [
            subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout.split("\n")[
                -2
            ]
            for text in (code, before)
        ]
        assert run[0] == run[1]


class TestRun:
    async def test_it_tells_when_the_operation_has_ended(self, make):
        hook = FakeHook(A=["PENDING", "RUNNING", "SUCCEEDED"])
        assert await first_event(make(hook)) == {"status": "done", "operations": [NAME], "message": ""}
        assert len(hook.calls) == 3

    @pytest.mark.parametrize("state", ["FAILED", "CANCELLED"])
    async def test_a_failure_is_an_end_too(self, make, state):
        assert (await first_event(make(FakeHook(A=[state]))))["status"] == "done"

    async def test_all_waits_for_the_last_and_asks_no_more_for_those_that_ended(self, make):
        hook = FakeHook(A=["SUCCEEDED"], B=["RUNNING", "RUNNING", "SUCCEEDED"])
        assert (await first_event(make(hook)))["status"] == "done"
        assert hook.calls.count(("get", NAME)) == 1

    async def test_all_ends_with_the_first_failure(self, make):
        assert (await first_event(make(FakeHook(A=["FAILED"], B=["RUNNING"]))))["status"] == "done"

    async def test_any_ends_with_the_first_success_only(self, make):
        hook = FakeHook(A=["FAILED"], B=["RUNNING", "RUNNING", "SUCCEEDED"], C=["RUNNING"])
        assert (await first_event(make(hook, wait_for="any")))["status"] == "done"
        assert hook.calls.count(("get", OTHER)) == 3

    async def test_many_operations_cost_one_list_a_poll(self, make):
        hook = FakeHook(**{f"N{number}": ["RUNNING", "SUCCEEDED"] for number in range(30)})
        assert (await first_event(make(hook)))["status"] == "done"
        assert hook.calls == [("list",), ("list",)]

    async def test_a_passing_failure_is_waited_out(self, make):
        hook = FakeHook(A=[Unavailable("later"), Unavailable("later"), "SUCCEEDED"])
        assert (await first_event(make(hook)))["status"] == "done"

    async def test_a_failure_that_lasts_is_told(self, make, monkeypatch):
        monkeypatch.setattr(watching, "TOLERATED_SECONDS", 0.05)
        event = await first_event(make(FakeHook(A=[Unavailable("gone fishing")])))
        assert event["status"] == "error"
        assert "gone fishing" in event["message"]

    async def test_two_short_failures_do_not_add_up(self, make, monkeypatch):
        monkeypatch.setattr(watching, "TOLERATED_SECONDS", 0.05)
        flaky = [Unavailable("x"), "RUNNING"] * 12
        assert (await first_event(make(FakeHook(A=[*flaky, "SUCCEEDED"]))))["status"] == "done"

    async def test_an_unknown_operation_is_told_at_once(self, make):
        hook = FakeHook(A=[NotFound("no such operation")])
        assert (await first_event(make(hook)))["status"] == "error"
        assert len(hook.calls) == 1

    async def test_the_deadline_is_kept_however_long_the_interval(self, make):
        trigger = make(FakeHook(A=["RUNNING"]), poll_interval=60, deadline=time.time() + 0.1)
        event = await asyncio.wait_for(first_event(trigger), 5)
        assert event["status"] == "timeout"

    async def test_an_operation_that_ended_is_done_even_after_the_deadline(self, make):
        trigger = make(FakeHook(A=["SUCCEEDED"]), deadline=time.time() - 10)
        assert (await first_event(trigger))["status"] == "done"

    async def test_the_loop_is_not_blocked_while_the_hook_is_imported(self, make, monkeypatch):
        trigger = make(FakeHook(A=["SUCCEEDED"]))
        hook = trigger._make_hook()

        def slowly():
            time.sleep(0.2)
            return hook

        monkeypatch.setattr(trigger, "_make_hook", slowly)
        waiting, ticks = asyncio.ensure_future(first_event(trigger)), 0
        while not waiting.done():
            ticks += 1
            await asyncio.sleep(0.01)
        assert ticks > 10

    async def test_a_real_hook_asks_a_real_socket(self, connect, emulator):
        connect(endpoint=emulator.url)
        trigger = EarthEngineOperationTrigger(operation_names=["projects/demo-project/operations/NONE"])
        event = await first_event(trigger)
        assert event["status"] == "error"
        assert emulator.calls == ["operations.get"]


class TestKill:
    async def test_a_user_who_kills_the_task_cancels_the_operation(self, make):
        hook = FakeHook(A=["RUNNING"])
        await make(hook).on_kill()
        assert ("cancel", NAME) in hook.calls
        assert hook.states[NAME] == ["CANCELLED"]

    @pytest.mark.parametrize(
        ("state", "cancels"),
        [("failed", True), ("success", True), ("gone", True), ("unknown", True), (None, False), ("running", False), ("deferred", False)],
    )  # fmt: skip
    async def test_a_user_who_clears_the_task_leaves_the_operation_to_its_next_try(
        self, make, monkeypatch, state, cancels
    ):
        def get_task_states(**_):
            if state == "unknown":
                raise ConnectionError("Airflow does not answer")
            return {} if state == "gone" else {"run": {"task": state}}

        monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", get_task_states)
        monkeypatch.setattr(cancelling, "AIRFLOW_TELLS", True)
        hook = FakeHook(A=["RUNNING"])
        trigger = make(hook)
        trigger.task_instance = SimpleNamespace(dag_id="dag", task_id="task", run_id="run", map_index=-1)
        await trigger.on_kill()
        assert (("cancel", NAME) in hook.calls) is cancels

    async def test_it_cancels_nothing_when_told_so(self, make):
        hook = FakeHook(A=["RUNNING"])
        await make(hook, cancel_on_kill=False).on_kill()
        assert hook.calls == []

    async def test_it_does_not_wait_for_ever(self, make, monkeypatch):
        monkeypatch.setattr(module, "KILL_SECONDS", 0.05)
        monkeypatch.setattr(module, "KILL_POLL_SECONDS", 0.01)
        hook = FakeHook(A=["RUNNING"])

        async def ignore(name):
            hook.calls.append(("cancel", name))

        hook.cancel_operation = ignore
        await asyncio.wait_for(make(hook).on_kill(), 5)

    @pytest.mark.parametrize(
        ("state", "cancels"),
        [("failed", True), ("success", True), ("deferred", False), ("queued", False), (None, False)],
    )
    async def test_without_on_kill_the_state_of_the_task_tells_a_user_from_a_restart(
        self, make, monkeypatch, state, cancels
    ):
        task = SimpleNamespace(dag_id="dag", task_id="task", run_id="run", map_index=3)
        asked = []

        def get_task_states(**arguments):
            asked.append(arguments)
            return {"run": {"task_3": state}}

        monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", get_task_states)
        monkeypatch.setattr(cancelling, "AIRFLOW_TELLS", False)
        hook = FakeHook(A=["RUNNING"])
        trigger = make(hook)
        trigger.task_instance = task
        running = asyncio.ensure_future(first_event(trigger))
        await asyncio.sleep(0.05)
        while not running.done():
            running.cancel()
            await asyncio.sleep(0.01)
        assert running.cancelled()
        assert (("cancel", NAME) in hook.calls) is cancels
        assert (hook.states[NAME] == ["CANCELLED"]) is cancels
        assert asked == [{"dag_id": "dag", "task_ids": ["task"], "run_ids": ["run"], "map_index": 3}]

    async def test_a_restart_of_the_triggerer_cancels_nothing(self, make):
        hook = FakeHook(A=["RUNNING"])
        trigger = make(hook)
        running = asyncio.ensure_future(first_event(trigger))
        await asyncio.sleep(0.05)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await trigger.cleanup()
        assert ("cancel", NAME) not in hook.calls


@pytest.mark.parametrize(
    ("states", "wait_for", "answer"),
    [
        ([], "all", True),
        ([], "any", True),
        (["RUNNING"], "all", False),
        (["SUCCEEDED", "RUNNING"], "all", False),
        (["FAILED", "RUNNING"], "all", True),
        (["FAILED", "RUNNING"], "any", False),
        (["SUCCEEDED", "RUNNING"], "any", True),
        (["FAILED", "CANCELLED"], "any", True),
        (["CANCELLING", "SUCCEEDED"], "all", False),
        (["FAILED", "RUNNING"], "each", False),
    ],
)
def test_waiting_ends_when_more_of_it_can_change_nothing(states, wait_for, answer):
    assert settled(states, wait_for) is answer
