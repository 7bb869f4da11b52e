"""Airflow's scheduler and triggerer are killed at random moments while ten exports are in flight: each starts one operation.

``make test-slow`` kills each of them 20 times; a plain run once. ``AIRFLOW_EE_CAMPAIGN`` and the numbers of rounds are as in
``test_export_campaign.py``.
"""

import json
import os
import textwrap
import time
from random import Random

import pytest

from airflow_ee.emulator import Emulator
from tests.live.notes import SEED, Notes, rounds

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

EXPORTS = 10
KILLS = int(os.environ.get("AIRFLOW_EE_KILLS_IN_A_RUN", "1"))
ROUNDS = rounds("AIRFLOW_EE_COMPONENT_ROUNDS", 0)
HEALTHY_SECONDS = 25
SECONDS = 280
DAG_FILE = textwrap.dedent('''
    """Ten exports, waited for in workers or in the triggerer."""
    from datetime import datetime, timedelta

    from airflow.sdk import DAG
    from airflow_ee.operators.export import EarthEngineExportImageOperator

    GRID = {
        "crsCode": "EPSG:32633",
        "dimensions": {"width": 9, "height": 6},
        "affineTransform": {"scaleX": 10, "translateX": 5e5, "scaleY": -10, "translateY": 4e6},
    }
    SEVEN = {"functionInvocationValue": {"functionName": "Image.constant", "arguments": {"value": {"constantValue": 7}}}}

    for name, deferrable in (("workers", False), ("deferred", True)):
        with DAG(name, schedule=None, start_date=datetime(2024, 1, 1)):
            EarthEngineExportImageOperator.partial(
                task_id="exports",
                expression={"result": "0", "values": {"0": SEVEN}},
                grid=GRID,
                description="{{ run_id }}-{{ ti.map_index }}",
                poll_interval=1,
                deferrable=deferrable,
                retries=9,
                retry_delay=timedelta(seconds=1),
            ).expand(destination_uri=[f"gs://demo-bucket/{{{{ run_id }}}}/{number}" for number in range(10)])
''')
ENVIRONMENT = {
    # A component that is killed is taken for dead a little sooner than by default.
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": str(HEALTHY_SECONDS),
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": str(HEALTHY_SECONDS),
}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    # Long enough for a component that was killed to be taken for dead while exports are in flight.
    with Emulator(root=tmp_path_factory.mktemp("earth-engine"), pending_seconds=45, running_seconds=0.5) as running:
        yield running


@pytest.fixture(scope="module")
def airflow(tmp_path_factory, emulator):
    from tools.stack import AirflowStack

    home = tmp_path_factory.mktemp("airflow")
    dags = home / "dags"
    dags.mkdir()
    (dags / "exports.py").write_text(DAG_FILE)
    connection = {"conn_type": "earth_engine", "extra": {"project": "demo-project", "endpoint": emulator.url}}
    environment = {**ENVIRONMENT, "AIRFLOW_CONN_EARTH_ENGINE_DEFAULT": json.dumps(connection)}
    with AirflowStack(home, dags, environment=environment, parallelism=EXPORTS) as stack:
        for dag_id in ("workers", "deferred"):
            stack.wait_for_dag(dag_id, 120)
            stack.unpause(dag_id)
        yield stack


@pytest.fixture(scope="module")
def notes():
    return Notes.asked_for()


def operations(emulator, run, index):
    mark = f"{run}-{index}-ae-"
    return [item for item in emulator.operations if item["metadata"]["description"].startswith(mark)]


def crash(airflow, emulator, random, component, run, *, whole):
    """Kill it at a random moment after the first export was asked for, and start it again a little later.

    What it has started dies with it, or lives on: then Airflow's next scheduler starts tasks anew beside the old ones.
    """
    deadline = time.monotonic() + 60
    while not any(operations(emulator, run, index) for index in range(EXPORTS)):
        assert time.monotonic() < deadline, "no export was asked for"
        time.sleep(0.05)
    time.sleep(random.uniform(0, 12))
    airflow.crash(component, whole=whole)
    time.sleep(random.uniform(0, 2))
    airflow.restart(component)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", ROUNDS)
def test_components_that_are_killed_leave_one_operation_for_each_export(airflow, emulator, notes, number):
    component = ("triggerer", "scheduler")[number % 2]
    if (SEED, component, number) in notes.passed:
        pytest.skip("this round has passed before")
    random = Random(f"{SEED} {component} {number}")
    dag_id = "deferred" if component == "triggerer" or number % 4 == 3 else "workers"
    run = airflow.trigger(dag_id, run_id=f"round-{number}")
    whole = [(number // 2 + kill) % 2 == 1 for kill in range(KILLS)]
    for each in whole:
        crash(airflow, emulator, random, component, run, whole=each)
    airflow.wait(dag_id, run, SECONDS)
    tries = [item["try_number"] for item in airflow.task_instances(dag_id, run)]
    found = [[item["metadata"]["state"] for item in operations(emulator, run, index)] for index in range(EXPORTS)]
    assert found == [["SUCCEEDED"]] * EXPORTS, tries
    notes.add(component, number, dag=dag_id, whole=whole, tries=tries)
