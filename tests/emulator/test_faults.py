"""Scripted faults happen once, in order, to the method they are aimed at."""

import time

import pytest
import requests

from .conftest import UTM, Rest, call, graph, message
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
        ("503", 503, "unavailable"),
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


def test_other_processes_script_faults_over_http(emulator, rest):
    url = f"{emulator.url}/emulator/faults"
    answer = requests.post(url, json={"method": "value:compute", "faults": ["503", "429"]}, timeout=5)
    assert answer.json() == {"pending": {"value:compute": ["503", "429"]}}
    assert rest.post(f"{rest.project}/value:compute", {"expression": graph(1)}).status_code == 503
    state = requests.get(f"{emulator.url}/emulator/state", timeout=5).json()
    assert state == {"calls": ["value:compute"], "pending": {"value:compute": ["429"]}, "operations": []}
    unaimed = requests.post(url, json={"method": "getPixel", "faults": ["503"]}, timeout=5)
    assert "unknown method 'getPixel'" in message(unaimed)
    assert "unknown fault" in message(requests.post(url, json={"method": "x", "faults": ["nonsense"]}, timeout=5))


def test_requests_are_recorded(emulator, rest):
    rest.session.headers["Authorization"] = "Bearer secret"
    rest.value(graph(1))
    (recorded,) = emulator.requests
    assert recorded.headers["authorization"] == "Bearer secret"
    assert recorded.body == {"expression": graph(1)}
    assert recorded.path == "/v1/projects/demo-project/value:compute"
