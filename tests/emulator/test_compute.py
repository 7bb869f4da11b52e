"""Pixels from processes beside the server, from the cache, and from fixed payloads: the same bytes as without any."""

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

import numpy as np
import pytest

from airflow_ee.emulator import Emulator
from airflow_ee.emulator.clock import ManualClock
from airflow_ee.emulator.compute.service import ComputeOptions
from tests.emulator.conftest import FIELD_IMAGES, NOW, Rest, call, graph, grid, image, loaded, message

LARGE = grid("EPSG:32632", (600000, 5200000), 10, 600, 500)
SMALL = grid("EPSG:32632", (600000, 5200000), 10, 60, 50)
SCENE = "MODIS/061/MOD13Q1/2023_06_10"


def ndvi(identity=SCENE):
    return graph(call("Image.select", input=image(identity), bandSelectors=["NDVI"]))


def slow_graph(steps=40):
    """A long chain of sines over many pixels."""
    first = call("Image.select", input=image(SCENE), bandSelectors=["NDVI"])
    chain = {str(n): call("Image.sin", value={"valueReference": str(n + 1)}) for n in range(steps)}
    return {"result": "0", "values": {**chain, str(steps): first}}


@pytest.fixture
def parallel(tmp_path):
    with Emulator(root=tmp_path, clock=ManualClock(NOW), compute=ComputeOptions(processes=2, cache_bytes=0)) as running:
        yield running


def test_large_requests_go_to_processes_and_give_the_same_bytes(parallel, world):
    bytes_beside = Rest(parallel.url).compute(ndvi(), LARGE)
    bytes_here = world.compute(ndvi(), LARGE)
    assert parallel.compute_pids, "nothing was computed beside the server"
    assert bytes_beside.content == bytes_here.content
    assert bytes_beside.headers["x-earth-engine-emulator"] == "simulated"
    assert bytes_beside.headers["content-type"] == bytes_here.headers["content-type"]


def test_small_requests_start_no_process(parallel):
    loaded(Rest(parallel.url).compute(ndvi(), SMALL))
    assert parallel.compute_pids == []


def test_a_refusal_in_a_process_reads_as_it_does_here(parallel, world):
    beside, here = Rest(parallel.url).compute(ndvi("no/such"), LARGE), world.compute(ndvi("no/such"), LARGE)
    assert message(beside) == message(here)
    assert beside.json() == here.json()
    loaded(Rest(parallel.url).compute(ndvi(), LARGE))


def test_a_killed_process_fails_its_request_and_is_replaced(parallel):
    rest = Rest(parallel.url)
    loaded(rest.compute(ndvi(), LARGE))
    (victim,) = parallel.compute_pids
    answers = []
    working = threading.Thread(target=lambda: answers.append(rest.compute(slow_graph(), LARGE)))
    working.start()
    time.sleep(0.1)
    os.kill(victim, signal.SIGKILL)
    working.join(30)
    assert message(answers[0], 500).startswith("An internal error has occurred")
    loaded(rest.compute(ndvi(), LARGE))
    assert victim not in parallel.compute_pids


@pytest.mark.parametrize("size", [LARGE, SMALL], ids=["beside", "here"])
def test_a_request_that_computes_too_long_is_refused_and_the_next_is_answered(tmp_path, size):
    options = ComputeOptions(processes=1, cache_bytes=0, timeout_seconds=0.05)
    with Emulator(root=tmp_path, clock=ManualClock(NOW), compute=options) as running:
        rest = Rest(running.url)
        assert message(rest.compute(slow_graph(2000), size)) == "Computation timed out."
        assert rest.value(graph(call("Number.add", left=1, right=2))) == 3


def test_idle_processes_that_died_cost_no_request_an_error(parallel):
    rest = Rest(parallel.url)
    loaded(rest.compute(ndvi(), LARGE))
    (victim,) = parallel.compute_pids
    os.kill(victim, signal.SIGKILL)
    time.sleep(0.2)
    loaded(rest.compute(ndvi(), LARGE))


def test_no_process_outlives_the_server(tmp_path):
    arguments = ["--port", "0", "--root", str(tmp_path), "--processes", "2"]
    server = subprocess.Popen(
        [sys.executable, "-m", "airflow_ee.emulator", *arguments], stdout=subprocess.PIPE, text=True
    )
    url = server.stdout.readline().split()[-1]
    loaded(Rest(url).compute(ndvi(), LARGE))
    children = _children(server.pid)
    assert children
    server.kill()
    server.wait()
    server.stdout.close()
    limit = time.monotonic() + 10
    while any(_is_running(child) for child in children) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not any(_is_running(child) for child in children)


def _children(parent):
    with open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as file:
        main_thread = file.read().split()
    others = [entry for entry in os.listdir(f"/proc/{parent}/task") if entry != str(parent)]
    found = [int(each) for each in main_thread]
    for thread in others:
        with open(f"/proc/{parent}/task/{thread}/children", encoding="ascii") as file:
            found += [int(each) for each in file.read().split()]
    return found


def _is_running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().split()[2] != "Z"
    except FileNotFoundError:
        return False


def timed(function):
    begin = time.process_time()
    result = function()
    return result, time.process_time() - begin


def test_the_same_request_is_answered_from_the_cache(tmp_path):
    with Emulator(root=tmp_path, clock=ManualClock(NOW), compute=ComputeOptions(processes=0)) as running:
        rest = Rest(running.url)
        first, cost = timed(lambda: rest.compute(slow_graph(), LARGE))
        second, cost_again = timed(lambda: rest.compute(slow_graph(), LARGE))
    assert second.content == first.content
    assert second.headers["x-earth-engine-emulator"] == "simulated"
    assert cost_again < cost / 3
    assert running.calls == ["image:computePixels"] * 2


def test_the_cache_forgets_what_a_new_composite_changes(tmp_path):
    clock = ManualClock(datetime(2023, 7, 1, tzinfo=UTC))
    size = graph(
        call(
            "Image.constant",
            value=call("Collection.size", collection=call("ImageCollection.load", id="MODIS/061/MOD13Q1")),
        )
    )
    with Emulator(root=tmp_path, clock=clock) as running:
        rest = Rest(running.url)
        before = rest.pixels(size, SMALL)
        clock.advance(40 * 86400)
        after = rest.pixels(size, SMALL)
    assert after["constant"][0, 0] > before["constant"][0, 0]


def test_the_cache_never_shows_a_replaced_asset(emulator, rest):
    for value in (1, 2):
        body = {
            "assetExportOptions": {"earthEngineDestination": {"name": f"{rest.project}/assets/a", "overwrite": True}}
        }
        source = graph(call("Image.constant", value=value))
        operation = rest.export(source, grid=SMALL, **body).json()
        assert rest.ended(operation["name"])["metadata"]["state"] == "SUCCEEDED"
        loaded_again = rest.pixels(graph(image(f"{rest.project}/assets/a")), SMALL)
        fetched = loaded(rest.asset_pixels(f"{rest.project}/assets/a", grid=SMALL))
        assert (loaded_again["constant"] == value).all()
        assert (fetched["constant"] == value).all()


def test_a_fixed_payload_is_the_first_answer_wherever_the_tile_is(tmp_path):
    options = ComputeOptions(fixed_payload=True)
    there = grid("EPSG:32632", (700000, 5300000), 10, 60, 50)
    with Emulator(root=tmp_path, clock=ManualClock(NOW), compute=options) as running:
        rest = Rest(running.url)
        first, second = rest.compute(ndvi(), SMALL), rest.compute(ndvi(), there)
        other = rest.compute(ndvi(), grid("EPSG:32632", (700000, 5300000), 10, 61, 50))
    assert first.content == second.content
    assert loaded(other).shape == (50, 61)


def test_mounted_folders_are_read_in_processes_too(tmp_path):
    if not FIELD_IMAGES.is_dir():
        pytest.skip("the real images are not beside this checkout")
    catalogs = {"local/field": FIELD_IMAGES}
    options = ComputeOptions(processes=1, cache_bytes=0)
    with Emulator(root=tmp_path, catalogs=catalogs, compute=options) as running:
        rest = Rest(running.url)
        listed = rest.get("projects/earthengine-public/assets/local/field:listAssets", pageSize=1).json()["assets"][0]
        asked = listed["bands"][0]["grid"] | {"dimensions": {"width": 800, "height": 400}}
        beside = rest.pixels(graph(image(listed["id"])), asked)
        here = rest.pixels(graph(image(listed["id"])), asked | {"dimensions": {"width": 80, "height": 40}})
        assert running.compute_pids
    for name in here.dtype.names:
        assert np.array_equal(beside[name][:40, :80], here[name])
