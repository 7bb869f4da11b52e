"""The server itself: its command line, its manners, and what it says of what it does not have."""

import ast
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

import airflow_ee.emulator
from airflow_ee.emulator import Emulator
from airflow_ee.emulator.__main__ import main

from .conftest import UTM, Rest, call, graph, message

PACKAGE = Path(airflow_ee.emulator.__file__).parent
ONE = graph(call("Image.constant", value=1))


def command(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "airflow_ee.emulator", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_prints_its_url_serves_and_stops(tmp_path, number):
    with command("--port", "0", "--root", str(tmp_path)) as process:
        line = process.stdout.readline()
        assert line.startswith("Earth Engine emulator listening on http://127.0.0.1:")
        url = line.split()[-1]
        assert requests.get(f"{url}/healthz", timeout=5).json() == {"status": "ok"}
        assert Rest(url).value(graph(call("Number.add", left=1, right=2))) == 3
        start = time.monotonic()
        process.send_signal(number)
        assert process.wait(timeout=10) == 0
        assert time.monotonic() - start < 2
        assert process.stdout.read() == ""


def test_the_command_refuses_a_folder_that_is_not_there(tmp_path, capsys):
    assert main(["--port", "0", "--catalog", f"x={tmp_path / 'none'}"]) == 2
    assert "error: cannot mount x:" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flag",
    ["latency-seconds=-1", "bandwidth-bytes-per-second=0", "requests-per-second=-1", "max-concurrent-requests=-1",
     "pending-seconds=-1", "processes=-1", "cache-bytes=-1", "timeout-seconds=0", "fault-rate=2", "fault-kinds=nonsense"],
)  # fmt: skip
def test_the_command_refuses_what_makes_no_sense(flag, capsys):
    assert main(["--port", "0", f"--{flag}"]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_the_functions_can_be_listed(capsys):
    assert main(["--list-functions"]) == 0
    names = capsys.readouterr().out.split()
    assert {"Image.load", "Image.normalizedDifference", "ImageCollection.mosaic"} <= set(names)


def test_forty_requests_at_once_are_served():
    with Emulator() as running, ThreadPoolExecutor(40) as pool:
        rest = Rest(running.url)
        statuses = list(pool.map(lambda _: rest.compute(ONE, UTM).status_code, range(40)))
        assert statuses == [200] * 40


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
def test_every_version_of_the_api_is_there(world, version):
    document = requests.get(f"{world.url}/$discovery/rest", params={"version": version}, timeout=5).json()
    assert document["version"] == version
    assert requests.get(f"{world.url}/{version}/$discovery/rest", timeout=5).status_code == 200
    answer = requests.post(f"{world.url}/{version}/projects/p/value:compute", json={"expression": graph(7)}, timeout=5)
    assert answer.json() == {"result": 7}
    assert len(requests.get(f"{world.url}/{version}/projects/p/algorithms", timeout=5).json()["algorithms"]) > 300


def test_list_images_belongs_to_v1alpha(world):
    path = "projects/earthengine-public/assets/MODIS/061/MOD13Q1:listImages"
    times = {"startTime": "2020-01-01T00:00:00Z", "endTime": "2020-03-01T00:00:00Z"}
    found = requests.get(f"{world.url}/v1alpha/{path}", params=times, timeout=5).json()["images"]
    assert [each["id"].rsplit("/", 1)[1] for each in found] == ["2020_01_01", "2020_01_17", "2020_02_02"]
    assert requests.get(f"{world.url}/v1/{path}", timeout=5).status_code == 404


def test_methods_that_are_not_emulated_say_so_by_name(world):
    for path in ("videoThumbnails", "featureViews"):
        answer = world.post(f"{world.project}/{path}")
        assert message(answer, 501).endswith("is not emulated")
        assert answer.json()["error"]["status"] == "UNIMPLEMENTED"
    assert world.get("nonsense").status_code == 404


def test_fields_and_pretty_print_are_heeded(world):
    path = "projects/earthengine-public/assets/MODIS/061/MOD13Q1/2020_06_09"
    answer = world.get(path, fields="id,bands(id,grid/crsCode)", prettyPrint="false", alt="json", key="k")
    assert "\n" not in answer.text.strip()
    assert answer.json()["bands"][0] == {"id": "NDVI", "grid": {"crsCode": "SR-ORG:6974"}}
    assert set(answer.json()) == {"id", "bands"}


def test_folders_and_collections_can_be_made_and_removed(rest):
    made = rest.post("projects/demo-project/assets?assetId=box", {"type": "IMAGE_COLLECTION"})
    assert made.json()["name"] == "projects/demo-project/assets/box"
    assert rest.get("projects/demo-project/assets/box").json()["type"] == "IMAGE_COLLECTION"
    assert rest.get("projects/demo-project/assets/box:listAssets").json() == {}
    assert message(rest.post("projects/demo-project/assets?assetId=box", {"type": "FOLDER"}), 409)
    assert rest.session.delete(f"{rest.url}/v1/projects/demo-project/assets/box", timeout=5).json() == {}
    assert rest.get("projects/demo-project/assets/box").status_code == 404


def test_the_emulator_imports_nothing_of_this_project_nor_the_client():
    plugin = PACKAGE / "pytest_plugin.py"  # sets up the client of other people's tests, and is imported by nothing here
    for path in set(PACKAGE.rglob("*.py")) - {plugin}:
        for each in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in each.names] if isinstance(each, ast.Import) else []
            names += [each.module or ""] if isinstance(each, ast.ImportFrom) else []
            for name in names:
                top, *others = name.split(".")
                assert top not in ("ee", "airflow", "pickle"), path
                assert top != "airflow_ee" or others[:1] == ["emulator"], path
