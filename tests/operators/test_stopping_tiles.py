"""A pixel task of many tiles that is told to stop keeps what it has, leaves nothing half made, and the next try goes on."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

METHOD = "image:computePixels"
TILES, STORED = 24, 10
# As Airflow's task runner does: the handler calls on_kill, and the task goes on with what it was doing. Tiles are as small as if
# the image were a thousand times larger.
TASK = """
import json, os, signal, sys
from types import SimpleNamespace
from airflow_ee.core import image_file
from airflow_ee.core.settings import Limits
from airflow_ee.operators.pixels import EarthEngineGetPixelsOperator
Limits.__init__.__kwdefaults__["target_bytes"] = 64 * 64 * 6
image_file.BLOCK = 64
output, form = sys.argv[1:]
task = EarthEngineGetPixelsOperator(
    task_id="task", asset_id="MODIS/061/MOD13Q1/2023_06_10", region=[-55.6, -12.1, -55.0, -11.6], bands=["NDVI"],
    output_uri=output, file_format=form, max_concurrency=4,
)
signal.signal(signal.SIGTERM, lambda *_: task.on_kill())
try:
    told = task.execute({"params": {}, "ti": SimpleNamespace(dag_id="dag", task_id="task")})
except Exception as error:
    print(type(error).__name__, flush=True)
    # The child of Airflow's supervisor leaves like this: threads are not waited for.
    os._exit(7)
print(json.dumps(told, default=str))
"""


@pytest.fixture
def begin(emulator, connect, tmp_path):
    """Starts a task with a folder of its own for temporary files."""
    connect(endpoint=emulator.url, is_anonymous=True)
    (tmp_path / "scratch").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "scratch")}

    def start(output, form):
        command = [sys.executable, "-c", TASK, str(output), form]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


def ended(process):
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors[-2000:]
    return json.loads(output.splitlines()[-1])


def recorded(folder):
    manifest = folder / "manifest.jsonl"
    return max(0, len(manifest.read_text().splitlines()) - 1) if manifest.exists() else 0


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.mark.parametrize("form", ["COG", "ZARR"])
def test_sigterm_keeps_the_tiles_and_the_next_try_goes_on(emulator, begin, tmp_path, form):
    whole = ended(begin(tmp_path / "calm" / "x", form))
    assert whole["tiles"] == TILES
    emulator.inject(METHOD, *["delay=0"] * STORED, *["hang"] * 30)
    out = tmp_path / "out"
    process, deadline = begin(out / "x", form), time.monotonic() + 60
    while recorded(out / "x.parts") < STORED or emulator.calls.count(METHOD) < TILES + STORED + 4:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read()[-2000:]
        time.sleep(0.02)
    told = time.monotonic()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert time.monotonic() - told < 5
    assert (process.returncode, output.split()[-1]) == (7, "Stopped")
    assert recorded(out / "x.parts") == STORED
    assert not (out / "x").exists()
    assert [path for path in out.rglob("*") if path.name.startswith(".") and path.name != ".x.parts"] == []
    assert list((tmp_path / "scratch").iterdir()) == []
    emulator.clear_faults()
    again = ended(begin(out / "x", form))
    assert again["tiles_resumed"] == STORED
    assert {name for name in os.listdir(out) if "part" in name} == set()
    found, expected = files(out), files(tmp_path / "calm")
    assert {name: body for name, body in found.items() if "json" not in name} == {
        name: body for name, body in expected.items() if "json" not in name
    }
