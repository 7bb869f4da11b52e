"""One `make up` and one AirflowStack on the same home, killed in turn: the tests of this module go on from each other."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tools.airflow_api import AirflowApi, RunFailedError
from tools.guard import descendants
from tools.stack import COMPONENTS, AirflowStack, StackError, free_port, session_members

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

UP = Path(__file__).parents[2] / "tools" / "up.py"
DAGS = """
import os

from airflow.sdk import BaseHook, Param, dag, task
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync


@dag(schedule=None, params={"number": Param(1, type="integer")})
def doubling():
    @task
    def double(params=None):
        if params["number"] == 13:
            raise ValueError("thirteen is not welcome")
        return {"doubled": params["number"] * 2}

    @task
    def surroundings():
        connection = BaseHook.get_connection("earth_engine_default")
        return {"output": os.environ["AIRFLOW_EE_OUTPUT"], **connection.extra_dejson}

    double() >> surroundings()


@dag(schedule=None)
def waiting():
    later = "{{ (dag_run.run_after + macros.timedelta(seconds=8)).isoformat() }}"
    DateTimeSensorAsync(task_id="wait", target_time=later)


@dag(schedule=None)
def endless():
    # BashOperator gives its command a session of its own.
    BashOperator(task_id="sleep", bash_command="sleep 3600 & wait")


doubling(), waiting(), endless()
"""


class Up:
    """A running `make up`, as the leader of a process group, which is what Ctrl-C reaches."""

    def __init__(self, home: Path, dags: Path) -> None:
        self.output = home.with_suffix(".txt")
        command = [sys.executable, UP, "--emulator-port", "0", "--port", "0", "--home", home, "--dags", dags]
        with self.output.open("w") as file:
            self.process = subprocess.Popen(
                [str(part) for part in [*command, "--parallelism", "2"]], stdout=file, stderr=file, process_group=0
            )

    def wait_for(self, pattern: str, seconds: float = 120) -> re.Match[str]:
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.output.read_text())):
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.2)
        return found

    def sessions(self) -> set[int]:
        """The sessions of all that it has started."""
        return {os.getsid(pid) for pid in descendants(self.process.pid)}

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stack") / "a home"  # with a space, as people have them


@pytest.fixture(scope="module")
def dags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dags")
    (folder / "probes.py").write_text(DAGS)
    (folder / "broken.py").write_text("import airflow\nraise ImportError('this dag is broken')\n")
    return folder


@pytest.fixture(scope="module")
def up(home: Path, dags: Path) -> Iterator[Up]:
    running = Up(home, dags)
    yield running
    running.end()


@pytest.fixture(scope="module")
def api(up: Up) -> AirflowApi:
    url = up.wait_for(r"Airflow +(http://127\.0\.0\.1:\d+)").group(1)
    up.wait_for("Ctrl-C stops everything")
    return AirflowApi(url)


def wait_until_gone(sessions: set[int], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while living := {session: members for session in sessions if (members := session_members(session))}:
        assert time.monotonic() < deadline, f"still alive: {living}"
        time.sleep(0.1)


@pytest.mark.usefixtures("api")
def test_make_up_lists_the_dags_and_what_cannot_be_read(up: Up):
    text = up.output.read_text()
    assert "doubling, endless, waiting" in text
    assert "this dag is broken" in text
    assert "Not read yet" not in text


def test_all_components_are_healthy_and_the_pool_is_there(api: AirflowApi):
    health = api.get("monitor/health")
    assert {part["status"] for part in health.values()} == {"healthy"}
    assert set(health) == {"metadatabase", "scheduler", "triggerer", "dag_processor"}
    assert api.get("pools/earth_engine")["slots"] == 40


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/net")
@pytest.mark.usefixtures("api")
def test_only_loopback_is_listened_on(up: Up):
    inodes = set()
    for pid in descendants(up.process.pid):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            if (target := os.readlink(link)).startswith("socket:["):
                inodes.add(target[8:-1])
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = row.split()[:10]
            if state == "0A" and inode in inodes:
                assert local.partition(":")[0] == "0100007F", row


def test_a_run_triggered_with_params_succeeds(home: Path, up: Up, api: AirflowApi):
    api.unpause("doubling")
    run_id = api.trigger("doubling", {"number": 21}, run_id="by-hand:21+1")
    assert api.wait("doubling", run_id)["state"] == "success"
    assert api.xcom("doubling", run_id, "double") == {"doubled": 42}
    assert [task["state"] for task in api.task_instances("doubling", run_id)] == ["success", "success"]
    surroundings = api.xcom("doubling", run_id, "surroundings")
    assert surroundings["output"] == str(home / "output")
    assert requests.get(f"{surroundings['endpoint']}/healthz", timeout=10).ok
    assert surroundings["endpoint"] == up.wait_for(r"Earth Engine +(http\S+)").group(1)


def test_a_failed_run_raises_with_the_log_of_its_task(api: AirflowApi):
    run_id = api.trigger("doubling", {"number": 13})
    with pytest.raises(RunFailedError, match=r"(?s)double \[-1\]: failed.*ValueError: thirteen is not welcome"):
        api.wait("doubling", run_id)


def test_a_deferrable_task_defers(api: AirflowApi):
    api.unpause("waiting")
    run_id = api.trigger("waiting")
    api.wait_for_task("waiting", run_id, "wait", ["deferred"])
    api.wait("waiting", run_id)
    assert "Pausing task as DEFERRED" in api.task_log("waiting", run_id, "wait")


def test_a_dag_that_is_added_shows_without_a_restart(api: AirflowApi, dags: Path):
    (dags / "late.py").write_text("from airflow.sdk import dag\n\n\n@dag(schedule=None)\ndef late(): ...\n\n\nlate()\n")
    assert api.wait_for_dag("late", timeout_seconds=30)["is_paused"]


def test_a_busy_port_is_told_at_once(tmp_path: Path, dags: Path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        command = [sys.executable, UP, "--home", tmp_path, "--dags", dags, "--port", str(port)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 1
    assert f"port {port} of 127.0.0.1, meant for the UI, is in use" in ended.stderr


def test_a_marked_task_is_killed_and_nothing_survives_a_killed_parent(up: Up, api: AirflowApi):
    api.unpause("endless")
    first, second = api.trigger("endless", run_id="first"), api.trigger("endless", run_id="second")
    for run_id in (first, second):
        api.wait_for_task("endless", run_id, "sleep", ["running"])
    api.set_task_state("endless", first, "sleep", new_state="failed")
    with pytest.raises(RunFailedError):
        api.wait("endless", first)
    deadline = time.monotonic() + 30
    while len(sessions := up.sessions()) < len(COMPONENTS) + 2:  # the emulator, and the command of the second run
        assert time.monotonic() < deadline, sessions
        time.sleep(0.2)
    up.process.kill()
    up.process.wait()
    wait_until_gone(sessions, seconds=15)


@pytest.mark.usefixtures("api")
def test_a_used_home_starts_again_and_a_dead_component_is_named(home: Path, dags: Path, up: Up):
    if up.process.poll() is None:  # when this test runs alone
        up.process.kill()
    with AirflowStack(home, dags, parallelism=2) as stack:
        sessions = stack.sessions
        assert set(sessions) == set(COMPONENTS)
        assert "late" in {dag["dag_id"] for dag in stack.dags()} or not (dags / "late.py").exists()
        with pytest.raises(StackError, match="another stack runs in"):
            AirflowStack(home, dags, lock_timeout_seconds=0.5).start()
        if "second" in {run["dag_run_id"] for run in stack.runs("endless")}:  # the run whose shell was killed goes on
            stack.wait_for_task("endless", "second", "sleep", ["running"])
            stack.set_task_state("endless", "second", "sleep")
        os.kill(sessions["triggerer"], signal.SIGKILL)
        with pytest.raises(StackError, match=r"(?s)triggerer ended with status -9.*triggerer\.log"):
            stack.wait_for_dag("no such dag", timeout_seconds=30)  # whatever waits for Airflow notices
    wait_until_gone(set(sessions.values()), seconds=0)


@pytest.mark.usefixtures("api")
def test_ctrl_c_stops_everything(home: Path, dags: Path, up: Up):
    if up.process.poll() is None:  # when this test runs alone
        up.process.kill()
    again = Up(home, dags)
    try:
        again.wait_for("Ctrl-C stops everything")
        sessions = again.sessions()
        os.killpg(again.process.pid, signal.SIGINT)
        os.killpg(again.process.pid, signal.SIGINT)  # people press twice
        assert again.process.wait(60) == 0
    finally:
        again.end()
    assert "Stopped: nothing is left running." in again.output.read_text()
    wait_until_gone(sessions, seconds=0)


def test_ctrl_c_during_the_start_stops_everything(tmp_path: Path, dags: Path):
    early = Up(tmp_path / "home", dags)
    early.wait_for("Preparing")
    time.sleep(2)
    sessions = early.sessions()
    assert sessions
    os.killpg(early.process.pid, signal.SIGINT)
    assert early.process.wait(30) == 0
    wait_until_gone(sessions, seconds=0)


def test_settings_of_another_airflow_do_not_leak_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW__CORE__UNIT_TEST_MODE", "True")
    monkeypatch.setenv("AIRFLOW_HOME", "/elsewhere")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    stack = AirflowStack(tmp_path, [tmp_path, tmp_path / "more"], environment={"AIRFLOW__CORE__PARALLELISM": "3"})
    environment = stack.environment
    assert "AIRFLOW__CORE__UNIT_TEST_MODE" not in environment
    assert environment["AIRFLOW_HOME"] == str(tmp_path)
    assert environment["AIRFLOW__CORE__PARALLELISM"] == "3"
    assert "127.0.0.1" in environment["NO_PROXY"]
    bundles = json.loads(environment["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"])
    assert [bundle["kwargs"]["path"] for bundle in bundles] == [str(tmp_path), str(tmp_path / "more")]


def test_a_missing_dag_folder_is_named(tmp_path: Path):
    with pytest.raises(StackError, match=r"the DAG folder .*nowhere does not exist"):
        AirflowStack(tmp_path, tmp_path / "nowhere").start()


def test_a_free_port_is_below_the_systems_own():
    assert 20_000 <= free_port() < 32_000
