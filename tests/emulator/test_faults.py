"""Scripted faults happen once, in order, to the method they are aimed at."""

import io
import json
import re
import socket
import time
from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest
import requests

from airflow_ee.emulator import Emulator
from airflow_ee.emulator.clock import ShiftedClock
from airflow_ee.emulator.http.plan import RANDOM_FAULTS, Chance, FaultPlan

from .conftest import UTM, Rest, call, graph, loaded, message
from .test_exports import GRID, NDVI, to_bucket

ONE = graph(call("Image.constant", value=1))


@pytest.mark.parametrize(
    ("fault", "status", "text"),
    [
        (
            "429",
            429,
            "Too Many Requests: Request was rejected because the request rate or concurrency limit was exceeded.",
        ),
        ("429 quota", 429, "Quota exceeded for quota metric 'Number of read requests'"),
        ("500", 500, "An internal error has occurred (request: "),
        ("502", 502, "Bad gateway"),
        ("503", 503, "unavailable"),
        ("504", 504, "deadline"),
        ("401", 401, "invalid authentication credentials"),
        (
            "403 permission=earthengine.computations.create",
            403,
            "Permission 'earthengine.computations.create' denied on resource",
        ),
        ("403 not-registered", 403, "is not registered to use Earth Engine"),
        ("403 service-disabled", 403, "has not been used in project"),
        ("403 scope", 403, "insufficient authentication scopes"),
        ("400 timeout", 400, "Computation timed out."),
        ("400 memory", 400, "User memory limit exceeded."),
        ("400 too-large", 400, "Total request size (56623104 bytes)"),
        ("400 queue", 400, "many tasks already in the queue"),
    ],
)
def test_a_refusal_comes_once_with_the_words_of_the_service(emulator, rest, fault, status, text):
    emulator.inject("image:computePixels", fault)
    answer = rest.compute(ONE, UTM)
    assert text in message(answer, status)
    assert rest.compute(ONE, UTM).status_code == 200
    assert emulator.calls == ["image:computePixels"] * 2
    assert not emulator.pending


def test_details_and_retry_after_are_there(emulator, rest):
    emulator.inject("getPixels", "429 retry-after=1", "403 service-disabled")
    assert rest.asset_pixels("projects/p/assets/x").headers["Retry-After"] == "1"
    (detail,) = rest.asset_pixels("projects/p/assets/x").json()["error"]["details"]
    assert detail["reason"] == "SERVICE_DISABLED"


def test_a_lost_answer_has_done_the_work(emulator, rest):
    emulator.inject("image:export", "lose-response")
    with pytest.raises(requests.ConnectionError):
        rest.export(NDVI, grid=GRID, requestId="once", **to_bucket())
    assert len(emulator.operations) == 1
    assert "already started" in message(Rest(emulator.url).export(NDVI, grid=GRID, requestId="once", **to_bucket()))


def test_a_dropped_request_has_done_nothing(emulator, rest):
    emulator.inject("image:export", "drop")
    with pytest.raises(requests.ConnectionError):
        rest.export(NDVI, grid=GRID, **to_bucket())
    assert emulator.operations == []
    assert emulator.calls == ["image:export"]


def test_a_truncated_answer_ends_in_the_middle(emulator, rest):
    emulator.inject("image:computePixels", "truncate")
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        rest.compute(ONE, UTM)
    assert rest.compute(ONE, UTM).status_code == 200


def test_a_corrupt_answer_is_no_array(emulator, rest):
    emulator.inject("image:computePixels", "corrupt")
    answer = rest.compute(ONE, UTM)
    assert answer.status_code == 200
    assert not answer.content.startswith(b"\x93NUMPY")


def test_delays_and_hanging(emulator, rest):
    emulator.inject("assets.get", "delay=0.3", "hang")
    start = time.monotonic()
    assert rest.get("projects/p/assets/x").status_code == 404
    assert time.monotonic() - start >= 0.3
    with pytest.raises(requests.Timeout):
        rest.session.get(f"{rest.url}/v1/projects/p/assets/x", timeout=0.3)


def test_the_next_export_fails_as_scripted(emulator, rest):
    emulator.inject("image:export", "fail code=INTERNAL Execution failed; out of memory.")
    operation = rest.ended(rest.export(NDVI, grid=GRID, **to_bucket()).json()["name"])
    assert operation["error"] == {"code": 13, "message": "Execution failed; out of memory."}
    assert operation["metadata"]["state"] == "FAILED"
    assert rest.ended(rest.export(NDVI, grid=GRID, **to_bucket()).json()["name"])["metadata"]["state"] == "SUCCEEDED"


def test_other_processes_script_read_and_clear_faults_over_http(emulator, rest):
    url = f"{emulator.url}/emulator/faults"
    answer = requests.post(url, json={"method": "value:compute", "faults": ["503", "429", "500 always"]}, timeout=5)
    assert answer.json()["pending"] == {"value:compute": ["503", "429"]}
    assert rest.post(f"{rest.project}/value:compute", {"expression": graph(1)}).status_code == 503
    state = requests.get(f"{emulator.url}/emulator/state", timeout=5).json()
    assert state == {
        "calls": ["value:compute"],
        "pending": {"value:compute": ["429"]},
        "standing": {"value:compute": ["500 always"]},
        "happened": [{"method": "value:compute", "fault": "503"}],
        "operations": [],
    }
    cleared = requests.delete(url, params={"method": "value:compute"}, timeout=5).json()
    assert cleared == {"pending": {}, "standing": {}}
    assert rest.value(graph(1)) == 1
    assert requests.delete(f"{emulator.url}/emulator/state", timeout=5).json()["calls"] == []
    unaimed = requests.post(url, json={"method": "getPixel", "faults": ["503"]}, timeout=5)
    assert "unknown method 'getPixel'" in message(unaimed)
    assert "unknown fault" in message(requests.post(url, json={"method": "x", "faults": ["nonsense"]}, timeout=5))
    assert "expected" in message(requests.post(url, json=[1], timeout=5))


def test_requests_are_recorded(emulator, rest):
    rest.session.headers["Authorization"] = "Bearer secret"
    rest.value(graph(1))
    (recorded,) = emulator.requests
    assert recorded.headers["authorization"] == "Bearer secret"
    assert recorded.body == {"expression": graph(1)}
    assert recorded.path == "/v1/projects/demo-project/value:compute"


def test_a_spoilt_array_keeps_its_length(emulator, rest):
    good = rest.compute(ONE, UTM).content
    emulator.inject("image:computePixels", "scramble", "wrong-dtype")
    scrambled = rest.compute(ONE, UTM).content
    assert len(scrambled) == len(good)
    with pytest.raises(ValueError, match="magic|pickled"):
        np.load(io.BytesIO(scrambled), allow_pickle=False)
    array = np.load(io.BytesIO(rest.compute(ONE, UTM).content), allow_pickle=False)
    assert array.nbytes == np.load(io.BytesIO(good)).nbytes
    assert array.dtype["constant"] != np.load(io.BytesIO(good)).dtype["constant"]
    assert emulator.happened == [("image:computePixels", "scramble"), ("image:computePixels", "wrong-dtype")]
    assert not emulator.pending


def test_the_wrong_content_type_and_the_page_of_a_proxy(emulator, rest):
    emulator.inject("image:computePixels", "content-type=text/html", "502 html")
    labelled = rest.compute(ONE, UTM)
    assert labelled.status_code == 200
    assert labelled.headers["content-type"].startswith("text/html")
    assert loaded(labelled).shape == (6, 8)
    page = rest.compute(ONE, UTM)
    assert page.status_code == 502
    assert page.text.startswith("<!DOCTYPE html>")
    assert not emulator.pending


def test_a_stalled_answer_falls_silent_in_its_middle(emulator):
    emulator.inject("image:computePixels", "stall")
    body = json.dumps({"expression": ONE, "fileFormat": "NPY", "grid": UTM}).encode()
    with socket.create_connection(("127.0.0.1", int(emulator.url.rsplit(":", 1)[1])), timeout=5) as raw:
        raw.sendall(
            b"POST /v1/projects/demo-project/image:computePixels HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            + f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head, _, start = received_until(raw, b"\r\n\r\n").partition(b"\r\n\r\n")
        promised = int(re.search(rb"content-length: (\d+)", head)[1])
        while len(start) < promised // 2:
            start += raw.recv(65536)
        raw.settimeout(0.5)
        with pytest.raises(TimeoutError):
            raw.recv(65536)
    assert len(start) == promised // 2
    assert not emulator.pending


def received_until(raw, end):
    data = b""
    while end not in data:
        data += raw.recv(65536)
    return data


def test_a_reset_is_seen_as_one(emulator):
    emulator.inject("value:compute", "reset")
    with socket.create_connection(("127.0.0.1", int(emulator.url.rsplit(":", 1)[1])), timeout=5) as raw:
        raw.sendall(b"POST /v1/projects/demo-project/value:compute HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        with pytest.raises(ConnectionResetError):
            raw.recv(100)
    assert not emulator.pending


def test_an_expired_token_is_told_from_a_wrong_one(emulator, rest):
    emulator.inject("value:compute", "401 expired", "401")
    reasons = []
    for _ in range(2):
        answer = rest.post(f"{rest.project}/value:compute", {"expression": graph(1)})
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer realm=")
        reasons.append(answer.json()["error"]["details"][0]["reason"])
    assert reasons == ["ACCESS_TOKEN_EXPIRED", "ACCESS_TOKEN_TYPE_UNSUPPORTED"]


def test_a_size_rule_refuses_every_large_request_until_it_is_cleared(emulator, rest):
    emulator.inject("*", "memory over=48px")
    small, large = UTM, {**UTM, "dimensions": {"width": 7, "height": 7}}
    for _ in range(2):
        assert message(rest.compute(ONE, large)) == "User memory limit exceeded."
        assert rest.compute(ONE, small).status_code == 200
    assert emulator.standing == {"*": ["memory over=48px"]}
    assert emulator.happened == [("image:computePixels", "memory over=48px")] * 2
    assert not emulator.pending
    emulator.clear_faults()
    assert rest.compute(ONE, large).status_code == 200


def test_faults_for_several_calls_and_for_every_method(emulator, rest):
    emulator.inject("*", "503 times=2")
    assert emulator.pending == {"*": ["503 times=2"] * 2}
    assert rest.get("projects/p/assets/x").status_code == 503
    assert rest.compute(ONE, UTM).status_code == 503
    assert rest.compute(ONE, UTM).status_code == 200
    assert "times" in message(requests.post(
        f"{emulator.url}/emulator/faults", json={"method": "*", "faults": ["503 times=0"]}, timeout=5
    ))  # fmt: skip


def statuses(seed):
    with Emulator(fault_rate=0.5, fault_seed=seed, fault_kinds=["503", "429"]) as emulator:
        rest = Rest(emulator.url)
        found = [rest.get("projects/p/assets/x").status_code for _ in range(40)]
        happened = [text for _, text in emulator.happened]
    assert sorted(set(found)) == [404, 429, 503]
    assert [{"503": 503, "429": 429}[text] for text in happened] == [each for each in found if each != 404]
    return found


def test_chance_is_repeatable():
    assert statuses(7) == statuses(7)
    assert statuses(7) != statuses(8)


def test_chance_draws_all_kinds_evenly():
    plan = FaultPlan(Chance(0.25, 3))
    drawn = Counter(fault.text if fault else None for fault in (plan.take("getPixels") for _ in range(20_000)))
    assert drawn.pop(None) == pytest.approx(15_000, rel=0.03)
    assert set(drawn) == set(RANDOM_FAULTS)
    assert all(count == pytest.approx(5000 / len(RANDOM_FAULTS), rel=0.2) for count in drawn.values())


@pytest.mark.parametrize("wrong", [{"rate": 1.5}, {"rate": 0.1, "faults": ["stuck"]}])
def test_chance_refuses_what_cannot_be(wrong):
    with pytest.raises(ValueError, match="share|chance"):
        Chance(**wrong)


def test_a_narrow_link_slows_the_answers_of_all():
    with Emulator(bandwidth_bytes_per_second=50_000) as emulator:
        rest = Rest(emulator.url)
        start = time.monotonic()
        size = len(rest.compute(ONE, {**UTM, "dimensions": {"width": 150, "height": 100}}).content)
        assert time.monotonic() - start >= size / 50_000


def test_the_clock_is_pushed_on_over_http():
    with Emulator(clock=ShiftedClock(datetime(2024, 3, 1, tzinfo=UTC))) as emulator:
        answer = requests.post(f"{emulator.url}/emulator/clock", json={"advanceSeconds": 86400}, timeout=5)
        assert answer.json()["now"].startswith("2024-03-02T00:00:0")
        assert "expected" in message(requests.post(f"{emulator.url}/emulator/clock", json={}, timeout=5))


def test_a_refusal_may_be_given_in_words(emulator, rest):
    emulator.inject("value:compute", "400 These are the words.", "404 So are these. retry-after=3")
    answer = rest.post(f"{rest.project}/value:compute", {"expression": graph(1)})
    assert (answer.status_code, message(answer)) == (400, "These are the words.")
    answer = rest.post(f"{rest.project}/value:compute", {"expression": graph(1)})
    assert message(answer, 404) == "So are these."
    assert answer.headers["retry-after"] == "3"
    assert not emulator.pending
