"""Runs of Beam's and Spark's example DAGs by Airflow itself, whose operators start real processes: the bytes are those of one task."""

import json
import os
import sys
from pathlib import Path

import pytest

from airflow_ee.emulator import Emulator
from tests.providers.conftest import AREA, FOLDER
from tools.dag_runner import run_dags

CALL = "image:computePixels"
ENGINES = ("beam", "spark")
FILE = "large_area/ndvi_{}_2023-06-01_2023-07-01.tif"
SPARK = Path(sys.prefix) / "spark-workers"

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.slow,
    # Airflow's operators leave pipes open of what has ended with an error.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
# A Spark of its own, with the packages of workers/spark.lock; they lack this package only.
ON_SPARK = {
    "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps({"conn_type": "spark", "host": "local[2,4]"}),
    "PATH": os.pathsep.join([str(SPARK / "bin"), os.environ["PATH"]]),
    "PYTHONPATH": str(FOLDER.parent),
}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with Emulator(root=tmp_path_factory.mktemp("emulator")) as emulator:
        yield emulator


@pytest.fixture
def server(running, connect):
    connect(endpoint=running.url, is_anonymous=True)
    return running


@pytest.fixture(scope="module")
def runs(running, tmp_path_factory):
    """What became of a run of each DAG, the folder of all that they left, and Airflow's log."""
    folder = tmp_path_factory.mktemp("runs")
    extra = {"project": "demo-project", "endpoint": running.url, "is_anonymous": True}
    environment = {
        **ON_SPARK,
        "AIRFLOW_CONN_EARTH_ENGINE_DEFAULT": json.dumps({"conn_type": "earth_engine", "extra": extra}),
    }
    conf = {**AREA, "output_uri": str(folder)}
    results = run_dags(
        [{"dag_id": f"ndvi_large_area_{engine}", "conf": conf, "logical_date": None} for engine in ENGINES],
        home=folder / "airflow", dags=FOLDER, log=folder / "log.txt", environment=environment,
    )  # fmt: skip
    return {result["dag_id"]: result["tasks"] for result in results}, folder, (folder / "log.txt").read_text()


def test_runs_ask_for_each_tile_once(runs, running):
    assert running.calls.count(CALL) == 6 * len(ENGINES)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_leaves_the_bytes_of_one_task(server, runs, one_task, engine):
    states, folder, log = runs
    dag_id = f"ndvi_large_area_{engine}"
    assert states[dag_id] == {"write_job": "success", f"run_on_{engine}": "success", "commit": "success"}
    assert {"beam": "Running command: ", "spark": "Spark-Submit cmd: "}[engine] in log
    assert (folder / FILE.format(engine)).read_bytes() == one_task(dag_id)


@pytest.mark.parametrize(
    ("engine", "change", "message"),
    [
        ("beam", lambda task: task.pipeline_options.update(max_num_wokers=3), "Beam has no option max_num_wokers"),
        ("beam", lambda task: task.pipeline_options.update(job="/nowhere/job.json"), "FileNotFoundError: "),
        ("spark", lambda task: task.application_args.append("--no-such-option"), "unrecognized arguments: --no-such"),
        ("spark", lambda task: task.application_args.__setitem__(1, "/nowhere/job.json"), "FileNotFoundError: "),
    ],
    ids=["beam's option", "beam's job", "spark's option", "spark's job"],
)
def test_what_is_wrong_is_refused_before_a_pixel_is_asked_for(
    server, connect, dags, execute, tmp_path, monkeypatch, capfd, engine, change, message
):
    for name, value in ON_SPARK.items():
        monkeypatch.setenv(name, value)
    before = server.calls.count(CALL)
    dag_id = f"ndvi_large_area_{engine}"
    execute(dag_id, "write_job", output_uri=str(tmp_path))
    change(dags[dag_id].get_task(f"run_on_{engine}"))
    with pytest.raises(Exception, match=r"return code 1|Error code is: [12]"):
        execute(dag_id, f"run_on_{engine}", output_uri=str(tmp_path))
    said = capfd.readouterr().out
    assert message in said
    assert "Running Spark version" not in said
    assert server.calls.count(CALL) == before
