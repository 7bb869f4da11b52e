"""The life of operations: order, queue, cancelling and its races, and what a killed process leaves to the next."""

import json
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
import rasterio

from airflow_ee.emulator import Emulator
from airflow_ee.emulator.clock import ManualClock
from airflow_ee.emulator.exports.operation import Operation
from airflow_ee.emulator.exports.store import FileOperationStore

from .conftest import UNHURRIED, Rest, call, graph, grid, message
from .test_exports import to_asset, to_bucket

SEVEN = graph(call("Image.toByte", value=call("Image.constant", value=7)))
GRID = grid("EPSG:32632", (600000, 5100000), 10, 8, 8)
LARGE = grid("EPSG:32632", (600000, 5100000), 10, 6000, 6000)
AT_ONCE = {"pending_seconds": 0, "running_seconds": 0, "cancelling_seconds": 0, **UNHURRIED}


def start(rest, prefix="x", **fields):
    answer = rest.export(SEVEN, **{"grid": GRID, **to_bucket(prefix), **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()["name"]


def until(rest, name, *states):
    limit = time.monotonic() + 20
    while time.monotonic() < limit:
        operation = rest.get(name).json()
        if operation["metadata"]["state"] in states:
            return operation
        time.sleep(0.01)
    raise AssertionError(operation)


def states(emulator):
    return [operation["metadata"]["state"] for operation in emulator.operations]


def test_two_run_at_a_time_and_the_higher_priority_goes_first(tmp_path):
    clock = ManualClock(datetime(2024, 3, 1, tzinfo=UTC))
    with Emulator(root=tmp_path, clock=clock, pending_seconds=10, running_seconds=60, **UNHURRIED) as running:
        rest = Rest(running.url)
        names = [start(rest, f"n{number}", priority=priority) for number, priority in enumerate((100, 5, 900, 100, 0))]
        clock.advance(11)
        for name in (names[2], names[0]):
            until(rest, name, "RUNNING")
        assert sorted(states(running)) == ["PENDING"] * 3 + ["RUNNING"] * 2
        clock.advance(61)
        for name in (names[3], names[1]):
            until(rest, name, "RUNNING")
        assert until(rest, names[4], "PENDING")
        clock.advance(61)
        until(rest, names[4], "RUNNING")
        clock.advance(61)
        ended = [until(rest, name, "SUCCEEDED")["metadata"]["startTime"] for name in names]
        assert [names[index] for index in sorted(range(5), key=lambda index: ended[index])[:2]] == [names[0], names[2]]


def test_an_operation_shows_what_the_reference_says(rest, emulator):
    name = start(rest, "p/x", description="d", requestId="asked-for", priority={"value": 7})
    assert re.fullmatch(r"projects/demo-project/operations/[A-Z2-7]{24}", name)
    operation = rest.ended(name)
    metadata = operation["metadata"]
    assert operation["done"] is True
    assert operation["response"] == {"@type": "type.googleapis.com/google.protobuf.Empty"}
    assert metadata["@type"] == "type.googleapis.com/google.earthengine.v1.OperationMetadata"
    assert (metadata["type"], metadata["description"], metadata["priority"]) == ("EXPORT_IMAGE", "d", 7)
    assert (metadata["attempt"], metadata["progress"]) == (1, 1)
    times = [metadata[key] for key in ("createTime", "startTime", "updateTime", "endTime")]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6})?Z", moment) for moment in times)
    assert metadata["stages"][0]["completeWorkUnits"] == metadata["stages"][0]["totalWorkUnits"]
    assert [stage["displayName"] for stage in metadata["stages"]] == ["Create Local Files", "Write Files"]
    again = rest.ended(start(rest, "p/y"))["metadata"]
    assert again["batchEecuUsageSeconds"] == metadata["batchEecuUsageSeconds"] > 0


def test_files_appear_when_the_operation_ends_and_not_before(tmp_path):
    clock = ManualClock(datetime(2024, 3, 1, tzinfo=UTC))
    with Emulator(root=tmp_path, clock=clock, pending_seconds=0, running_seconds=60, **UNHURRIED) as running:
        rest = Rest(running.url)
        kept, left = start(rest, "kept"), start(rest, "left")
        for name in (kept, left):
            until(rest, name, "RUNNING")
        clock.advance(30)
        assert rest.post(f"{left}:cancel").json() == {}
        time.sleep(0.1)
        assert not (tmp_path / "gs").exists()
        clock.advance(31)
        assert until(rest, kept, "SUCCEEDED")
        assert until(rest, left, "CANCELLED")["error"]["code"] == 1
        assert [path.name for path in (tmp_path / "gs" / "b").iterdir()] == ["kept.tif"]
        assert not any((tmp_path / "drafts").iterdir())


def test_a_pending_operation_is_cancelled_without_ever_running(tmp_path):
    with Emulator(root=tmp_path, **{**AT_ONCE, "pending_seconds": 3600}) as running:
        rest = Rest(running.url)
        name = start(rest)
        rest.post(f"{name}:cancel")
        ended = rest.ended(name)
        assert ended["metadata"]["state"] == "CANCELLED"
        assert "startTime" not in ended["metadata"]


def test_a_cancel_while_work_is_done_stops_it(tmp_path):
    with Emulator(root=tmp_path, **AT_ONCE) as running:
        rest = Rest(running.url)
        name = start(rest, grid=LARGE)
        until(rest, name, "RUNNING")
        rest.post(f"{name}:cancel")
        before = time.monotonic()
        assert rest.ended(name)["metadata"]["state"] == "CANCELLED"
        assert time.monotonic() - before < 5
        assert not (tmp_path / "gs").exists()


def test_a_cancel_never_leaves_an_end_and_files_that_disagree(tmp_path):
    with Emulator(root=tmp_path, **AT_ONCE) as running:
        rest = Rest(running.url)
        ends = set()
        for number in range(40):
            name = start(rest, f"race{number}")
            time.sleep(0.0015 * (number % 8))
            answer = rest.post(f"{name}:cancel")
            assert answer.status_code == 200 or "already in state SUCCEEDED" in message(answer)
            state = rest.ended(name)["metadata"]["state"]
            ends.add(state)
            assert (tmp_path / "gs" / "b" / f"race{number}.tif").exists() == (state == "SUCCEEDED")
        assert "CANCELLED" in ends


def test_a_cancel_during_the_delivery_of_many_files_leaves_all_or_none(tmp_path):
    tiles = {"tileSize": {"value": 16}, "tileDimensions": {"width": 16, "height": 16}}
    target = {**GRID, "dimensions": {"width": 320, "height": 320}}
    with Emulator(root=tmp_path, **AT_ONCE) as running:
        rest = Rest(running.url)
        for number in range(4):
            name = start(rest, grid=target, **to_bucket(f"many{number}/x", **tiles))
            folder = tmp_path / "gs" / "b" / f"many{number}"
            limit = time.monotonic() + 20
            while not folder.exists() and time.monotonic() < limit:
                time.sleep(0.0005)
            rest.post(f"{name}:cancel")
            state = rest.ended(name)["metadata"]["state"]
            count = len(list(folder.iterdir())) if folder.exists() else 0
            assert (state, count) in {("SUCCEEDED", 400), ("CANCELLED", 0)}


@pytest.mark.parametrize("method", ["get", "cancel", "delete", "wait"])
def test_an_unknown_operation_is_404(rest, method):
    name = "projects/demo-project/operations/AAAAAAAAAAAAAAAAAAAAAAAA"
    if method == "get":
        answer = rest.get(name)
    elif method == "delete":
        answer = rest.session.delete(f"{rest.url}/v1/{name}", timeout=10)
    else:
        answer = rest.post(f"{name}:{method}")
    assert message(answer, 404) == 'Operation "AAAAAAAAAAAAAAAAAAAAAAAA" not found.'


def test_only_what_has_ended_is_deleted_and_its_request_id_is_free_again(tmp_path):
    with Emulator(root=tmp_path, **{**AT_ONCE, "pending_seconds": 3600}) as running:
        rest = Rest(running.url)
        name = start(rest, requestId="r")
        answer = rest.session.delete(f"{rest.url}/v1/{name}", timeout=10)
        assert "has not ended yet" in message(answer)
        rest.post(f"{name}:cancel")
        rest.ended(name)
        assert rest.session.delete(f"{rest.url}/v1/{name}", timeout=10).json() == {}
        assert start(rest, requestId="r") != name


def test_wait_answers_at_the_end_or_when_the_time_is_up(tmp_path):
    with Emulator(root=tmp_path, **{**AT_ONCE, "running_seconds": 0.3}) as running:
        rest = Rest(running.url)
        name = start(rest)
        before = time.monotonic()
        assert "done" not in rest.post(f"{name}:wait", {"timeout": "0.05s"}).json()
        assert rest.post(f"{name}:wait", {"timeout": "20s"}).json()["done"] is True
        assert time.monotonic() - before < 5
        assert message(rest.post(f"{name}:wait", {"timeout": "soon"})).startswith("Invalid value at 'timeout'")


def test_lists_refuse_filters(rest):
    answer = rest.get(f"{rest.project}/operations", filter="done=true")
    assert "not supported" in message(answer)


def test_the_queue_holds_3000_and_stays_quick(tmp_path):
    store = FileOperationStore(tmp_path / "operations")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    for number in range(3000):
        body = {"expression": SEVEN, "grid": GRID, "requestId": f"r{number}", **to_bucket(f"x{number}")}
        name = f"projects/demo-project/operations/{number:024d}"
        store.put(Operation(name=name, body=body, marker="true", created=now, updated=now))
    with Emulator(root=tmp_path, **{**AT_ONCE, "pending_seconds": 3600}) as running:
        rest = Rest(running.url)
        refused = rest.export(SEVEN, grid=GRID, **to_bucket())
        assert "many tasks already in the queue (3000)" in message(refused)
        other = Rest(running.url, "other-project")
        start(other)
        assert "already started" in message(rest.export(SEVEN, grid=GRID, requestId="r2999", **to_bucket()))
        before = time.process_time()
        for number in range(0, 3000, 30):
            assert rest.get(f"projects/demo-project/operations/{number:024d}").status_code == 200
        assert (time.process_time() - before) / 100 < 0.05
        rest.post(f"projects/demo-project/operations/{0:024d}:cancel")
        rest.ended(f"projects/demo-project/operations/{0:024d}")
        start(rest)


FULL = "There are too many tasks already in the queue (2). Please wait for some to complete."
REPEATED = "A different Operation was already started with the given request_id"


@pytest.mark.parametrize("rule", ["error", "same"])
def test_a_full_queue_refuses_and_uses_the_request_id_up(tmp_path, rule):
    options = {"max_pending_operations": 2, "duplicate_request_id": rule, **AT_ONCE, "pending_seconds": 3600}
    with Emulator(root=tmp_path, **options) as running:
        rest = Rest(running.url)
        waiting = [start(rest, f"n{number}", requestId=f"r{number}") for number in range(2)]
        body = {"grid": GRID, "requestId": "late", **to_bucket("late")}
        assert message(rest.export(SEVEN, **body)) == FULL
        assert message(rest.export(SEVEN, grid=GRID, **to_bucket())) == FULL
        manifest = {"name": "projects/demo-project/assets/i", "tilesets": [{"sources": [{"uris": ["gs://b/i.tif"]}]}]}
        imported = {"imageManifest": manifest, "requestId": "import"}
        assert message(rest.post(f"{rest.project}/image:import", imported)) == FULL
        start(Rest(running.url, "other-project"), requestId="late")
        rest.post(f"{waiting[0]}:cancel")
        rest.ended(waiting[0])
        assert message(rest.export(SEVEN, **body)) == REPEATED
        assert message(rest.post(f"{rest.project}/image:import", imported)) == REPEATED
        assert [each["name"] for each in running.operations if "demo" in each["name"]] == waiting
    with Emulator(root=tmp_path, **options) as running:
        rest = Rest(running.url)
        assert message(rest.export(SEVEN, **body)) == REPEATED
        start(rest, requestId="late-2")


def test_a_queue_for_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one operation"):
        Emulator(root=tmp_path, max_pending_operations=0)


def test_the_command_line_sets_the_length_of_the_queue(tmp_path):
    arguments = [
        sys.executable,
        "-m",
        "airflow_ee.emulator",
        "--port",
        "0",
        "--root",
        str(tmp_path),
        "--processes",
        "0",
    ]
    arguments += ["--pending-seconds", "3600", "--max-pending-operations", "2"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        rest = Rest(re.search(r"http://\S+", process.stdout.readline())[0])
        for number in range(2):
            start(rest, f"n{number}")
        assert message(rest.export(SEVEN, grid=GRID, **to_bucket())) == FULL
        process.terminate()


def test_a_list_of_5000_operations_stays_quick(tmp_path):
    store = FileOperationStore(tmp_path / "operations")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    for number in range(5000):
        body = {"expression": SEVEN, "grid": GRID, "requestId": f"r{number}", **to_bucket(f"x{number}")}
        name = f"projects/demo-project/operations/{number:024d}"
        store.put(Operation(name=name, body=body, marker="true", created=now, updated=now, state="SUCCEEDED"))
    with Emulator(root=tmp_path, **AT_ONCE) as running:
        rest, token, names, slowest = Rest(running.url), "", [], 0.0
        while token is not None:
            before = time.monotonic()
            page = rest.get(f"{rest.project}/operations", pageSize=500, pageToken=token).json()
            slowest = max(slowest, time.monotonic() - before)
            names += [each["name"] for each in page["operations"]]
            token = page.get("nextPageToken")
        assert names == [f"projects/demo-project/operations/{number:024d}" for number in reversed(range(5000))]
        assert slowest < 0.5


def test_a_server_killed_while_it_writes_leaves_no_half_file(tmp_path):
    arguments = [sys.executable, "-m", "airflow_ee.emulator", "--port", "0", "--root", str(tmp_path)]
    arguments += ["--pending-seconds", "0", "--running-seconds", "0", "--processes", "0"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        rest = Rest(re.search(r"http://\S+", process.stdout.readline())[0])
        name = start(rest, "large", grid=LARGE)
        asset = start(rest, grid=LARGE, **{"fileExportOptions": None, **to_asset("projects/demo-project/assets/large")})
        limit = time.monotonic() + 20
        while len(list((tmp_path / "drafts").rglob("*.tif"))) < 3 and time.monotonic() < limit:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    written = json.loads((tmp_path / "operations" / f"{name.replace('/', '~')}.json").read_text())
    assert written["state"] == "RUNNING"
    assert list((tmp_path / "drafts").rglob("*.tif"))
    assert not (tmp_path / "gs").exists()
    assert not (tmp_path / "assets").exists()
    with Emulator(root=tmp_path, **AT_ONCE) as running:
        rest = Rest(running.url)
        for each in (name, asset):
            ended = rest.ended(each, seconds=60)
            assert (ended["metadata"]["state"], ended["metadata"]["attempt"]) == ("SUCCEEDED", 2)
        with rasterio.open(tmp_path / "gs" / "b" / "large.tif") as dataset:
            assert dataset.shape == (6000, 6000)
            assert (dataset.read(1, window=((5990, 6000), (5990, 6000))) == 7).all()
        assert rest.get("projects/demo-project/assets/large").json()["type"] == "IMAGE"
        assert not any((tmp_path / "drafts").iterdir())
