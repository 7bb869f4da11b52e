"""The images and the compose stack in a Docker engine: `make test-docker`. What the DAG leaves there is what it leaves here."""

import csv
import io
import json
import os
import re
import signal

import pytest

from airflow_ee.emulator import Emulator
from tools.compose import ROOT, ComposeStack
from tools.dag_runner import run_dags
from tools.docker_engine import docker_engine

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(3600)]

DAG_ID = "ndvi_modis_timeseries"
OUTPUT = "/opt/airflow/output/compose"
DATES = {"start": "2023-01-01", "end": "2023-04-01"}
COMPOSITES = ["2023-01-01", "2023-01-17", "2023-02-02", "2023-02-18", "2023-03-06", "2023-03-22"]
BESIDE_THE_EMULATOR = {"api-server", "worker", "triggerer"}


@pytest.fixture(scope="module", autouse=True)
def told_to_end():
    """SIGTERM takes the stack and the engine down as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, lambda *_: pytest.exit("told to end"))
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def stack():
    base_images = os.environ["AIRFLOW_EE_BASE_IMAGES"]
    keep = bool(os.environ.get("AIRFLOW_EE_KEEP_STACK"))
    with (
        docker_engine(report=print) as engine,
        ComposeStack(engine, base_images=base_images, keep=keep, report=print) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def run(stack):
    stack.unpause(DAG_ID)
    run_id = stack.trigger(DAG_ID, {**DATES, "output_uri": OUTPUT})
    stack.wait(DAG_ID, run_id, timeout_seconds=600)
    return run_id


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """The folder that the same run of the same DAG leaves on this machine, without containers."""
    folder = tmp_path_factory.mktemp("here")
    with Emulator(root=folder / "earth-engine") as emulator:
        connection = {
            "conn_type": "earth_engine",
            "extra": {"project": "demo-project", "endpoint": emulator.url, "is_anonymous": True},
        }
        environment = {"AIRFLOW_CONN_EARTH_ENGINE_DEFAULT": json.dumps(connection)}
        conf = {**DATES, "output_uri": str(folder / "output")}
        runs = [{"dag_id": DAG_ID, "logical_date": "2023-05-01T06:00:00+00:00", "conf": conf}]
        (result,) = run_dags(
            runs, home=folder / "airflow", dags=ROOT / "dags", environment=environment, log=folder / "airflow.log"
        )
    assert set(result["tasks"].values()) == {"success"}
    return folder / "output"


def test_the_table_has_a_row_for_each_composite_and_says_that_it_is_simulated(stack, run):
    rows = list(csv.DictReader(io.StringIO(stack.read("worker", f"{OUTPUT}/ndvi.csv").decode())))
    assert [row["image_start"][:10] for row in rows] == COMPOSITES
    assert {row["simulated"] for row in rows} == {"true"}
    assert all(0 < float(row["mean"]) < 1 for row in rows)


def test_the_files_are_those_that_the_dag_makes_without_containers(stack, run, here):
    rasters = [f"rasters/{date.replace('-', '_')}.tif" for date in COMPOSITES]
    assert sorted(str(path.relative_to(here)) for path in here.glob("rasters/*.tif")) == rasters
    for name in ("ndvi.csv", *rasters):
        assert stack.read("worker", f"{OUTPUT}/{name}") == (here / name).read_bytes(), name
    assert stack.read("worker", f"{OUTPUT}/ndvi.png").startswith(b"\x89PNG")


def test_workers_of_celery_did_the_tasks_and_the_api_server_shows_their_logs(stack, run):
    said = stack.compose("logs", "--no-color", "worker").decode()
    names = set(re.findall(r"(celery@\S+) ready", said))
    assert len(names) == len(stack.containers()["worker"]) == 2, "each worker has a name of its own"
    assert len(re.findall(r"execute_workload\[\S+ succeeded", said)) >= 2
    assert "DAG bundles loaded" in stack.task_log(DAG_ID, run, "fetch_series")


def test_only_the_api_and_the_emulator_are_published_and_on_loopback(stack, run):
    containers = stack.containers()
    published = {service: _published(group) for service, group in containers.items()}
    assert {service for service, ports in published.items() if ports} == {"emulator"}
    assert {port["HostIp"] for port in published["emulator"]} == {"127.0.0.1"}
    (emulator,) = containers["emulator"]
    for service in BESIDE_THE_EMULATOR:
        for container in containers[service]:
            assert container["HostConfig"]["NetworkMode"] == f"container:{emulator['Id']}"


def test_no_container_is_privileged_and_ours_do_not_run_as_root(stack, run):
    assert not any(
        container["HostConfig"]["Privileged"] for group in stack.containers().values() for container in group
    )
    for service in ("emulator", "worker", "scheduler"):
        assert int(stack.compose("exec", "-T", service, "id", "-u")) > 0


def _published(containers):
    return [
        port
        for container in containers
        for ports in container["NetworkSettings"]["Ports"].values()
        for port in ports or ()
    ]
