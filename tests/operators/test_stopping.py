"""A pixel task that is told to stop ends within five seconds and leaves nothing behind."""

import os
import subprocess
import sys
import time

import pytest

# As Airflow's task runner does: the handler calls on_kill, and the task goes on with what it was doing.
TASK = """
import signal, sys
from types import SimpleNamespace
from airflow_ee.operators.pixels import EarthEngineGetPixelsOperator
from airflow_ee.operators.series import EarthEngineTimeSeriesOperator
from airflow_ee.operators.tables import EarthEngineComputeFeaturesOperator
folder, kind = sys.argv[1:]
region = [-55.6, -12.1, -55.55, -12.05]
if kind == "series":
    task = EarthEngineTimeSeriesOperator(
        task_id="task", collection="MOD13Q1", index="NDVI", region=region, start="2023-01-01", end="2023-06-01",
        table_uri=folder + "/ndvi", raster_uri=folder + "/rasters",
    )
elif kind == "table":
    points = [{"functionInvocationValue": {"functionName": "Feature", "arguments": {}}}]
    task = EarthEngineComputeFeaturesOperator(
        task_id="task", output_uri=folder + "/table", expression={"result": "0", "values": {"0": {
            "functionInvocationValue": {"functionName": "Collection", "arguments": {
                "features": {"arrayValue": {"values": points}}}}}}},
    )
else:
    task = EarthEngineGetPixelsOperator(
        task_id="task", asset_id="MODIS/061/MOD13Q1/2023_06_10", region=region, output_uri=folder + "/x.tif",
        file_format="COG" if kind == "tiles" else "PNG",
    )
signal.signal(signal.SIGTERM, lambda *_: task.on_kill())
print("begun", flush=True)
try:
    task.execute({"params": {}, "ti": SimpleNamespace(dag_id="dag", task_id="task")})
except Exception as error:
    print(type(error).__name__, flush=True)
    # The child of Airflow's supervisor leaves like this: threads are not waited for.
    import os
    os._exit(7)
"""


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("series", "image:computePixels"),
        ("tiles", "image:computePixels"),
        ("picture", "image:computePixels"),
        ("table", "table:computeFeatures"),
    ],
)
def test_sigterm_ends_the_work_and_cleans_up(emulator, connect, tmp_path, kind, method):
    connect(endpoint=emulator.url, is_anonymous=True)
    emulator.inject(method, *["hang"] * 40)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {**os.environ, "TMPDIR": str(scratch)}
    command = [sys.executable, "-c", TASK, str(tmp_path / "out"), kind]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while method not in emulator.calls:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read()[-2000:]
        time.sleep(0.05)
    if kind in {"series", "table"}:
        assert list(scratch.glob("airflow-ee-*")), "the work has a folder of its own"
    told = time.monotonic()
    process.terminate()
    output, _ = process.communicate(timeout=30)
    assert time.monotonic() - told < 5
    assert process.returncode == 7
    assert output.split()[-1] == "Stopped"
    assert list(scratch.glob("airflow-ee-*")) == []
    left = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert left <= {"series.json"}, "only the label of the folder, no file that is half made"


def test_a_task_that_is_not_at_work_has_nothing_to_stop():
    from airflow_ee.operators.pixels import EarthEngineGetPixelsOperator

    EarthEngineGetPixelsOperator(task_id="task", asset_id="x", output_uri="/x").on_kill()
