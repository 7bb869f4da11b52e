"""Exports under a whole Airflow: what a user, a timeout or a crash does to a task, and what becomes of the operation."""

import json
import os
import signal
import textwrap
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from airflow.triggers.base import BaseTrigger

from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.settings import ClientSettings
from airflow_ee.emulator import Emulator

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

DAG_FILE = textwrap.dedent('''
    """Exports that end in all the ways there are; those whose name begins with "stuck" never end by themselves."""
    from datetime import datetime, timedelta

    from airflow.sdk import DAG
    from airflow_ee.operators.export import EarthEngineExportImageOperator
    from airflow_ee.sensors.operation import EarthEngineOperationSensor

    GRID = {
        "crsCode": "EPSG:32633",
        "dimensions": {"width": 9, "height": 6},
        "affineTransform": {"scaleX": 10, "translateX": 5e5, "scaleY": -10, "translateY": 4e6},
    }

    def image(context, value):
        import ee

        return ee.Image.constant(value)

    def export(dag_id, operator=EarthEngineExportImageOperator, **arguments):
        with DAG(dag_id, schedule=None, start_date=datetime(2024, 1, 1)) as dag:
            operator(
                task_id="export",
                expression=image,
                expression_kwargs={"value": 3},
                grid=GRID,
                destination_uri="gs://demo-bucket/" + dag_id,
                poll_interval=0.5,
                **arguments,
            )
        return dag

    killed = export("stuck_killed")
    killed_deferred = export("stuck_killed_deferred", deferrable=True)
    kept = export("stuck_kept", deferrable=True, cancel_on_kill=False)
    kept_in_worker = export("stuck_kept_in_worker", cancel_on_kill=False)
    late = export("stuck_late", execution_timeout=timedelta(seconds=10))
    late_deferred = export("stuck_late_deferred", deferrable=True, execution_timeout=timedelta(seconds=10))
    crashed = export("stuck_crashed", retries=2, retry_delay=timedelta(seconds=1))
    crashed_early = export("crashed_early", retries=2, retry_delay=timedelta(seconds=1))

    class NoDeadline(EarthEngineExportImageOperator):
        """Its trigger never gives up, as if the triggerer hung: only Airflow's own limit on the deferral is left."""

        def defer(self, *, trigger, timeout, **arguments):
            trigger.deadline = None
            super().defer(trigger=trigger, timeout=timedelta(seconds=3), **arguments)

    unwatched = export("stuck_unwatched", NoDeadline, deferrable=True, execution_timeout=timedelta(seconds=60))

    class FailsAfterSuccess(EarthEngineExportImageOperator):
        """Every other try dies when its export has succeeded, as with a worker that is lost before it could tell."""

        def execute(self, context):
            result = super().execute(context)
            if context["ti"].try_number % 2:
                raise RuntimeError("the worker is lost")
            return result

    again = {"retries": 1, "retry_delay": timedelta(seconds=1)}
    rerun = export("rerun", FailsAfterSuccess, force_rerun=True, **again)

    # Airflow 3.3 sometimes fails a task whose trigger fires before its scheduler has seen it deferred: a retry finds all.
    again = {"retries": 3, "retry_delay": timedelta(seconds=1)}
    with DAG("all_well", schedule=None, start_date=datetime(2024, 1, 1), default_args=again) as all_well:
        common = {"expression": image, "grid": GRID, "poll_interval": 0.5}
        exports = EarthEngineExportImageOperator.partial(task_id="exports", deferrable=True, **common).expand_kwargs(
            [{"expression_kwargs": {"value": n}, "destination_uri": f"gs://demo-bucket/{n}"} for n in (1, 2)]
        )
        started = EarthEngineExportImageOperator.partial(
            task_id="started", wait_for_completion=False, **common
        ).expand_kwargs(
            [{"expression_kwargs": {"value": n}, "destination_uri": f"gs://demo-bucket/{n}"} for n in (3, 4)]
        )
        for mode in ({"mode": "poke"}, {"mode": "reschedule"}, {"deferrable": True}):
            (name,) = (str(value) for value in mode.values())
            EarthEngineOperationSensor(task_id="wait_" + name, operation_name=started.output, poke_interval=0.5, **mode)
''')


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    with Emulator(root=tmp_path_factory.mktemp("earth-engine")) as running:
        yield running


@pytest.fixture(scope="module")
def airflow(tmp_path_factory, emulator):
    from tools.stack import AirflowStack

    home: Path = tmp_path_factory.mktemp("airflow")
    dags = home / "dags"
    dags.mkdir()
    (dags / "exports.py").write_text(DAG_FILE)
    connection = {"conn_type": "earth_engine", "extra": {"project": "demo-project", "endpoint": emulator.url}}
    environment = {"AIRFLOW_CONN_EARTH_ENGINE_DEFAULT": json.dumps(connection)}
    with AirflowStack(home, dags, environment=environment) as stack:
        stack.wait_for_dag("all_well", 120)
        yield stack


@pytest.fixture(autouse=True)
def nothing_is_left(emulator):
    """A fault that a test did not use up would befall the next one, and operations that never end would hold up its own."""
    yield
    emulator.clear_faults()
    settings = ClientSettings(project="demo-project", endpoint=emulator.url, high_volume_endpoint=emulator.url)
    with EarthEngineClient(settings) as client:
        for operation in client.list_operations():
            if not operation.done:
                client.cancel_operation(operation.name)


@pytest.fixture
def begin(airflow, emulator):
    """Starts a run whose export is stuck, and waits until its worker or the triggerer looks at it."""

    def begin(dag_id, state):
        before = len(emulator.operations)
        emulator.inject("image:export", "stuck")
        airflow.wait_for_dag(dag_id)
        airflow.unpause(dag_id)
        run = airflow.trigger(dag_id, {})
        wait_until(lambda: len(emulator.operations) > before)
        airflow.wait_for_task(dag_id, run, "export", [state])
        # A task that is killed before the triggerer has taken it over reaches no code of ours.
        name = emulator.operations[-1]["name"]
        wait_until(lambda: any(seen.method == "operations.get" and name in seen.path for seen in emulator.requests))
        return run, name

    return begin


def wait_until(done, seconds=90):
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)


def lasts(tell, seconds):
    """Whether something stays as it is for so long."""
    first, deadline = tell(), time.monotonic() + seconds
    while (same := tell() == first) and time.monotonic() < deadline:
        time.sleep(0.2)
    return same


def state_of(emulator, name):
    (found,) = [item["metadata"]["state"] for item in emulator.operations if item["name"] == name]
    return found


def test_mapped_exports_and_sensors_in_all_modes_end_well(airflow, emulator):
    airflow.unpause("all_well")
    run = airflow.trigger("all_well", {})
    airflow.wait("all_well", run, 240)
    for name in ("wait_poke", "wait_reschedule", "wait_True"):
        assert [item["state"] for item in airflow.xcom("all_well", run, name)] == ["SUCCEEDED"] * 2
    path = f"dags/all_well/dagRuns/{quote(run)}/taskInstances/exports/links"
    link = airflow.get(path, map_index=1)["extra_links"]["Earth Engine task"]
    assert link.startswith(f"{emulator.url}/v1/projects/demo-project/operations/")
    assert len(emulator.operations) == 4


def end_by_hand(airflow, how, dag_id, run):
    """The ways in which a user ends a task."""
    match how:
        case "mark failed" | "mark success":
            airflow.set_task_state(dag_id, run, "export", new_state=how.removeprefix("mark "))
        case "clear":
            airflow.clear(dag_id, run, ["export"])
        case "stop the run":
            airflow.patch(f"dags/{dag_id}/dagRuns/{quote(run)}", {"state": "failed"})


ENDINGS = ("mark failed", "mark success", "clear", "stop the run")


@pytest.mark.parametrize("how", [how for how in ENDINGS if how != "clear"])
@pytest.mark.parametrize(("dag_id", "state"), [("stuck_killed", "running"), ("stuck_killed_deferred", "deferred")])
def test_a_users_kill_cancels_the_operation(airflow, emulator, begin, dag_id, state, how):
    run, name = begin(dag_id, state)
    end_by_hand(airflow, how, dag_id, run)
    wait_until(lambda: state_of(emulator, name) == "CANCELLED")


@pytest.mark.parametrize(("dag_id", "state"), [("stuck_killed", "running"), ("stuck_killed_deferred", "deferred")])
def test_a_task_that_is_cleared_hands_its_operation_to_the_next_try(airflow, emulator, begin, dag_id, state):
    run, name = begin(dag_id, state)
    before = len(emulator.operations)
    airflow.clear(dag_id, run, ["export"])
    wait_until(lambda: f"This was started before: {name}" in airflow.task_log(dag_id, run, "export"))
    airflow.wait_for_task(dag_id, run, "export", [state])
    assert lasts(lambda: (state_of(emulator, name), len(emulator.operations)), 6)
    assert (state_of(emulator, name), len(emulator.operations)) == ("RUNNING", before)
    airflow.set_task_state(dag_id, run, "export", new_state="failed")
    wait_until(lambda: state_of(emulator, name) == "CANCELLED")


@pytest.mark.parametrize("how", ["clear", "stop the run"])
@pytest.mark.parametrize(("dag_id", "state"), [("stuck_kept", "deferred"), ("stuck_kept_in_worker", "running")])
def test_a_users_kill_leaves_the_operation_where_that_is_wished(airflow, emulator, begin, dag_id, state, how):
    run, name = begin(dag_id, state)
    before = len(emulator.operations)
    end_by_hand(airflow, how, dag_id, run)
    if how == "clear":
        wait_until(lambda: f"This was started before: {name}" in airflow.task_log(dag_id, run, "export"))
        airflow.set_task_state(dag_id, run, "export", new_state="failed")
    time.sleep(3)
    assert state_of(emulator, name) in {"PENDING", "RUNNING"}
    assert len(emulator.operations) == before


@pytest.mark.parametrize(("dag_id", "state"), [("stuck_late", "running"), ("stuck_late_deferred", "deferred")])
def test_a_timeout_cancels_the_operation(airflow, emulator, begin, dag_id, state):
    run, name = begin(dag_id, state)
    airflow.wait_for_task(dag_id, run, "export", ["failed"])
    wait_until(lambda: state_of(emulator, name) == "CANCELLED")


def test_a_deferral_that_airflow_itself_gives_up_cancels_the_operation(airflow, emulator, begin):
    run, name = begin("stuck_unwatched", "deferred")
    airflow.wait_for_task("stuck_unwatched", run, "export", ["failed"])
    wait_until(lambda: state_of(emulator, name) == "CANCELLED")
    assert f"The deferral timed out: cancelling {name}" in airflow.task_log("stuck_unwatched", run, "export")


@pytest.mark.skipif(
    not hasattr(BaseTrigger, "on_kill"), reason="before Airflow 3.3 nothing tells a retry from a clearing"
)
def test_a_rerun_happens_once_for_a_run_and_once_for_a_clearing_whatever_the_retries(airflow, emulator):
    before = len(emulator.operations)
    airflow.wait_for_dag("rerun")
    airflow.unpause("rerun")
    run = airflow.trigger("rerun", {})
    airflow.wait("rerun", run)
    assert airflow.task_instance("rerun", run, "export")["try_number"] == 2
    assert len(emulator.operations) == before + 1
    airflow.clear("rerun", run, ["export"])
    wait_until(lambda: airflow.task_instance("rerun", run, "export")["try_number"] == 4)
    airflow.wait_for_task("rerun", run, "export", ["success"])
    assert len(emulator.operations) == before + 2


def test_a_worker_that_was_killed_between_request_and_answer_has_started_one_operation(airflow, emulator):
    before = len(emulator.operations)
    emulator.inject("image:export", "stall")
    airflow.wait_for_dag("crashed_early")
    airflow.unpause("crashed_early")
    run = airflow.trigger("crashed_early", {})
    wait_until(lambda: len(emulator.operations) > before)
    os.kill(airflow.task_instance("crashed_early", run, "export")["pid"], signal.SIGKILL)
    airflow.wait("crashed_early", run)
    assert airflow.task_instance("crashed_early", run, "export")["try_number"] == 2
    (operation,) = emulator.operations[before:]
    assert airflow.xcom("crashed_early", run, "export")["operation"] == operation["name"]


def test_a_worker_that_was_killed_is_followed_by_one_that_finds_its_operation(airflow, emulator, begin):
    run, name = begin("stuck_crashed", "running")
    before = len(emulator.operations)
    os.kill(airflow.task_instance("stuck_crashed", run, "export")["pid"], signal.SIGKILL)
    wait_until(lambda: airflow.task_instance("stuck_crashed", run, "export")["try_number"] == 2)
    airflow.wait_for_task("stuck_crashed", run, "export", ["running"])
    wait_until(lambda: f"This was started before: {name}" in airflow.task_log("stuck_crashed", run, "export"))
    assert len(emulator.operations) == before
    airflow.set_task_state("stuck_crashed", run, "export", new_state="failed")
    wait_until(lambda: state_of(emulator, name) == "CANCELLED")
