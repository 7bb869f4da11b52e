"""More exports than the project's queue takes: each waits for its turn in the triggerer, and starts one operation.

``make test-slow`` brings 350 through a queue of 300; a plain run 35 through one of 30.
"""

import asyncio
import json
import os
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_ee.emulator import Emulator
from airflow_ee.operators.export import EarthEngineExportImageOperator
from tests.live.tries import GRAPH, GRID, moved

pytestmark = pytest.mark.slow

EXPORTS = int(os.environ.get("AIRFLOW_EE_QUEUED_EXPORTS", "35"))
ROOM = EXPORTS * 6 // 7
AT_ONCE = 16


class Store(dict):
    """Airflow's task state store."""

    def set(self, key, value):
        self[key] = value


@pytest.fixture
def emulator(tmp_path, connect):
    # All are asked for before the first one leaves the queue. Without a rate: a request that it refuses is made again with its id.
    conditions = {
        "pending_seconds": EXPORTS / 8,
        "running_seconds": 0.01,
        "max_pending_operations": ROOM,
        "requests_per_second": None,
    }
    with Emulator(root=tmp_path, **conditions) as running:
        connect(endpoint=running.url, is_anonymous=True)
        yield running


class Task:
    """A mapped task instance, in a worker and in the triggerer by turns."""

    def __init__(self, index, limit):
        self.index, self.limit = index, limit
        self.deferrals = []
        ti = SimpleNamespace(
            dag_id="queue", task_id="export", run_id="r", map_index=index, max_tries=0, xcom_push=lambda **_: None
        )
        self.context = {"ti": ti, "params": {}, "task_state_store": Store()}
        self.result = None

    def step(self, method, **arguments):
        """In a worker: the trigger that is waited for then; None when the task has ended."""
        operator = EarthEngineExportImageOperator(
            task_id="export", expression=GRAPH, grid=GRID, destination_uri=f"gs://demo-bucket/queue/{self.index}",
            description=f"queue-{self.index}", poll_interval=0.5, deferrable=True, max_pending_operations=self.limit,
        )  # fmt: skip
        try:
            self.result = getattr(operator, method)(self.context, **arguments)
        except TaskDeferred as deferral:
            self.deferrals.append(deferral.method_name)
            return deferral
        return None

    async def run(self, workers):
        """From the first try to the end."""
        loop = asyncio.get_running_loop()
        deferral = await loop.run_in_executor(workers, self.step, "execute")
        while deferral is not None:
            event = (await anext(moved(*deferral.trigger.serialize()).run())).payload
            arguments = {**(deferral.kwargs or {}), "event": event}
            deferral = await loop.run_in_executor(
                workers, lambda d=deferral, a=arguments: self.step(d.method_name, **a)
            )


async def run_all(tasks):
    with ThreadPoolExecutor(AT_ONCE) as workers:
        await asyncio.gather(*(task.run(workers) for task in tasks))


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("looks", [True, False], ids=["who looks before", "who is refused"])
def test_exports_wait_for_their_turn_and_start_once(emulator, looks):
    tasks = [Task(index, ROOM if looks else None) for index in range(EXPORTS)]
    asyncio.run(run_all(tasks))
    operations = emulator.operations
    descriptions = [item["metadata"]["description"] for item in operations]
    started = Counter(re.match(r"queue-(\d+)-ae-", each)[1] for each in descriptions)
    assert started == {str(index): 1 for index in range(EXPORTS)}
    assert {item["metadata"]["state"] for item in operations} == {"SUCCEEDED"}
    assert [task.result["state"] for task in tasks] == ["SUCCEEDED"] * EXPORTS
    waited = sum("execute_with_room" in task.deferrals for task in tasks)
    refused = emulator.calls.count("image:export") - EXPORTS
    numbers = sum(not each.endswith("-1") for each in descriptions)
    print(
        json.dumps({"exports": EXPORTS, "room": ROOM, "waited": waited, "refused": refused, "later numbers": numbers})
    )
    assert waited >= EXPORTS - ROOM
    assert numbers <= refused
    # An id that a refusal has used up is never asked under again.
    ids = [request.body["requestId"] for request in emulator.requests if request.method == "image:export"]
    assert len(set(ids)) == len(ids)
    assert looks or refused >= EXPORTS - ROOM
