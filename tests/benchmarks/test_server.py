"""The benchmark server and the floor: answers are the emulator's, and what is set holds."""

import io
import json
import threading
import time

import numpy as np
import pytest
import requests

from benchmarks import floor, scene
from benchmarks.serving import serving

SIDE = 300
BANDS = 2


@pytest.fixture(scope="module")
def server():
    with serving((BANDS, SIDE)) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_conditions(server):
    server.set()


def url_of(server):
    return f"{server.url}/v1/projects/earthengine-public/assets/{scene.image_id(BANDS, SIDE)}:getPixels"


def body_of(row=0, col=0, rows=100, cols=100):
    return {"fileFormat": "NPY", "grid": scene.rest_grid(SIDE, row=row, col=col, rows=rows, cols=cols)}


def ask(server, **window):
    return requests.post(url_of(server), json=body_of(**window), timeout=60)


def test_an_answer_has_the_pixels_of_the_image(server):
    answer = np.load(io.BytesIO(ask(server, rows=90, cols=120).content))
    expected = scene.field(scene.FIELD, len(scene.BANDS), seed=1)[:BANDS, :90, :120]
    assert answer.dtype == np.dtype([("B2", "<f4"), ("B3", "<f4")])
    for band, name in enumerate(answer.dtype.names):
        np.testing.assert_array_equal(answer[name], np.where(expected[band] == scene.NODATA, 0, expected[band]))


def test_the_same_request_at_another_place_is_computed_once(server):
    first = ask(server, rows=64, cols=64)
    assert server.record()["computed"] == 1
    second = ask(server, row=100, col=200, rows=64, cols=64)
    assert second.content == first.content
    assert (server.record()["computed"], server.record()["answers"]) == (1, 2)


def test_another_shape_or_another_band_is_another_answer(server):
    whole = ask(server)
    assert len(ask(server, cols=50).content) < len(whole.content)
    one = requests.post(url_of(server), json={**body_of(), "bandIds": ["B3"]}, timeout=60)
    assert np.load(io.BytesIO(one.content)).dtype.names == ("B3",)


def test_what_the_emulator_refuses_is_refused_and_not_kept(server):
    for _ in range(2):
        answer = requests.post(url_of(server), json={**body_of(), "bandIds": ["B99"]}, timeout=60)
        assert answer.status_code == 400
    assert server.record()["computed"] == 0


def test_every_answer_takes_the_latency(server):
    ask(server)
    server.set(latency_seconds=0.2)
    begin = time.monotonic()
    ask(server)
    requests.get(f"{server.url}/v1/projects/demo-project/algorithms", timeout=60)
    assert time.monotonic() - begin >= 0.4


def test_requests_beyond_those_at_once_are_refused(server):
    ask(server)
    server.set(latency_seconds=0.3, max_open=3)
    codes = []
    threads = [threading.Thread(target=lambda: codes.append(ask(server).status_code)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200, 200, 200, 429, 429]
    assert (server.record()["refused"], server.record()["most_open"]) == (2, 3)


def test_starts_beyond_those_of_a_second_are_refused_until_it_is_over(server):
    server.set(starts_per_second=3)
    assert [ask(server).status_code for _ in range(4)] == [200, 200, 200, 429]
    time.sleep(1.05)
    assert ask(server).status_code == 200


def test_a_quota_is_lowered_without_a_word(server):
    server.set(starts_per_second=100, lowered_after=4, lowered_starts=5)
    assert [ask(server).status_code for _ in range(6)] == [200, 200, 200, 200, 200, 429]
    record = server.record()
    assert record["first"] < record["lowered_at"] <= record["last"]
    assert (record["refused_before"], record["refused"]) == (0, 1)


def test_doubles_that_come_of_filling_are_sent_as_floats(server):
    image = {
        "functionInvocationValue": {
            "functionName": "Image.load",
            "arguments": {"id": {"constantValue": scene.image_id(BANDS, SIDE)}},
        }
    }
    large = {
        "functionInvocationValue": {
            "functionName": "Image.constant",
            "arguments": {"value": {"constantValue": 2147483647}},
        }
    }
    filled = {
        "functionInvocationValue": {
            "functionName": "Image.unmask",
            "arguments": {"input": image, "value": large, "sameFootprint": {"constantValue": False}},
        }
    }
    body = {**body_of(), "expression": {"result": "0", "values": {"0": filled}}}
    answer = requests.post(f"{server.url}/v1/projects/demo-project/image:computePixels", json=body, timeout=60)
    array = np.load(io.BytesIO(answer.content))
    assert array.dtype == np.dtype([("B2", "<f4"), ("B3", "<f4")])
    expected = scene.field(scene.FIELD, len(scene.BANDS), seed=1)[0, :100, :100]
    np.testing.assert_array_equal(array["B2"], np.where(expected == scene.NODATA, np.float32(2147483647), expected))


def test_the_floor_puts_every_tile_in_its_place(server):
    server.set(journal=True)
    answers = {}
    for row, rows in ((0, 200), (200, 100)):
        for col, cols in ((0, 200), (200, 100)):
            window = {"row": row, "col": col, "rows": rows, "cols": cols}
            answers[row, col] = np.load(io.BytesIO(ask(server, **window).content))
    jobs = [floor.asked(each) for each in json.loads(json.dumps(server.journal()))]
    image = floor.empty_image(answers[0, 0], SIDE, SIDE)
    floor.read_image(server.url, jobs, 3, image)
    for name in ("B2", "B3"):
        rows = [np.hstack([answers[row, col][name] for col in (0, 200)]) for row in (0, 200)]
        np.testing.assert_array_equal(image[name], np.vstack(rows))


def test_a_floor_that_is_refused_says_so(server):
    server.set(max_open=1, starts_per_second=1)
    ask(server)
    job = floor.asked({"path": url_of(server).removeprefix(server.url), "body": body_of()})
    with pytest.raises(RuntimeError, match="HTTP 429"):
        floor.read_image(server.url, [job], 1, {})
