"""One root, one emulator; and what a killed or starved one leaves to the next."""

import errno
import json
import signal
import subprocess
import sys
import time

import pytest

from airflow_ee.emulator import Emulator
from airflow_ee.emulator.exports.store import FileOperationStore

from .conftest import Rest, call, graph

GRID = {
    "crsCode": "EPSG:32632", "dimensions": {"width": 8, "height": 8},
    "affineTransform": {"scaleX": 30.0, "translateX": 600000.0, "scaleY": -30.0, "translateY": 5200000.0},
}  # fmt: skip
ASSET = "projects/demo-project/assets/a"
TO_ASSET = {"assetExportOptions": {"earthEngineDestination": {"name": ASSET}}}
AT_ONCE = {"pending_seconds": 0, "running_seconds": 0, "requests_per_second": None}


def exported(rest, value):
    answer = rest.export(graph(call("Image.constant", value=value)), grid=GRID, **TO_ASSET)
    assert answer.status_code == 200, answer.text
    return rest.ended(answer.json()["name"])


def test_a_root_belongs_to_one_emulator_at_a_time(tmp_path):
    with Emulator(root=tmp_path):
        with pytest.raises(OSError, match="belongs to another emulator"):
            Emulator(root=tmp_path)
        arguments = [sys.executable, "-m", "airflow_ee.emulator", "--port", "0", "--root", str(tmp_path)]
        refused = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "belongs to another emulator" in refused.stderr
    with Emulator(root=tmp_path):
        pass


def test_a_start_that_fails_gives_the_root_back(tmp_path):
    with pytest.raises(ValueError, match="share of faults"):
        Emulator(root=tmp_path, fault_rate=2)
    with Emulator(root=tmp_path):
        pass


def test_operations_outlive_a_disk_that_is_full_for_a_while(tmp_path, monkeypatch):
    put, full = FileOperationStore.put, [True] * 3

    def refuse(self, operation):
        if operation.state != "PENDING" and full:
            full.pop()
            raise OSError(errno.ENOSPC, "No space left on device")
        put(self, operation)

    monkeypatch.setattr(FileOperationStore, "put", refuse)
    monkeypatch.setattr("airflow_ee.emulator.exports.life.RETRY_SECONDS", 0.05)
    with Emulator(root=tmp_path, **AT_ONCE) as running:
        assert exported(Rest(running.url), 7)["metadata"]["state"] == "SUCCEEDED"
    assert not full


def test_an_attempt_knows_what_the_one_before_has_delivered(tmp_path):
    with Emulator(root=tmp_path, **AT_ONCE) as running:
        name = exported(Rest(running.url), 7)["name"]
    path = tmp_path / "operations" / f"{name.replace('/', '~')}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"state": "RUNNING", "ended": None, "uris": []}))
    with Emulator(root=tmp_path, **AT_ONCE) as running:
        ended = Rest(running.url).ended(name)["metadata"]
        assert (ended["state"], ended["attempt"]) == ("SUCCEEDED", 2)
        assert "Cannot overwrite" in exported_message(Rest(running.url))


def exported_message(rest):
    answer = rest.export(graph(call("Image.constant", value=8)), grid=GRID, **TO_ASSET)
    return answer.json()["error"]["message"]


@pytest.mark.parametrize(("left", "there"), [(".a.replaced", True), (".a.deleted", False)])
def test_what_was_half_replaced_is_put_back_and_what_was_half_deleted_goes(tmp_path, left, there):
    with Emulator(root=tmp_path, **AT_ONCE) as running:
        exported(Rest(running.url), 7)
    assets = tmp_path / "assets" / "projects" / "demo-project" / "assets"
    (assets / "a").rename(assets / left)
    with Emulator(root=tmp_path, **AT_ONCE) as running:
        assert (Rest(running.url).asset_pixels(ASSET).status_code == 200) is there
    assert sorted(path.name for path in assets.iterdir()) == (["a"] if there else [])


def test_the_same_seed_never_takes_the_name_of_an_earlier_operation(tmp_path):
    names = []
    for _ in range(2):
        with Emulator(root=tmp_path, seed=5, **{**AT_ONCE, "pending_seconds": 3600}) as running:
            folder = {"fileFormat": "GEO_TIFF", "cloudStorageDestination": {"bucket": "b", "filenamePrefix": "x"}}
            answer = Rest(running.url).export(
                graph(call("Image.constant", value=1)), grid=GRID, fileExportOptions=folder
            )
            names.append(answer.json()["name"])
    assert len(set(names)) == 2


def test_a_damaged_operation_stops_the_start_with_its_name(tmp_path):
    (tmp_path / "operations").mkdir()
    (tmp_path / "operations" / "x.json").write_text('{"na')
    with pytest.raises(ValueError, match=r"x\.json holds no operation"):
        Emulator(root=tmp_path)


def test_computing_processes_end_with_a_server_that_is_killed():
    starter = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-m', 'airflow_ee.emulator.compute.worker', "
    )
    starter += "str(__import__('os').getpid())], stdin=0); print(p.pid, flush=True); p.wait()"
    with subprocess.Popen([sys.executable, "-c", starter], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        child = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
        limit = time.monotonic() + 15
        while is_running(child) and time.monotonic() < limit:
            time.sleep(0.05)
        assert not is_running(child)


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
