"""How many requests a project may have open, how many it may start, and who may ask at all."""

import inspect
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from airflow_ee.emulator import Emulator
from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.http.admission import Admission

from .conftest import Rest, graph, message
from .test_exports import GRID, NDVI, to_bucket

TOO_MANY = "Too Many Requests: Request was rejected because the request rate or concurrency limit was exceeded."


class Seconds:
    """A clock in seconds."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def admitted(admission, project="p", host="standard"):
    try:
        with admission.entered(project, host):
            return True
    except EmulatorError:
        return False


def test_any_second_has_so_many_starts_and_no_more():
    seconds = Seconds()
    admission = Admission(max_concurrent_requests=None, requests_per_second=100, monotonic=seconds)
    starts = []
    for step in range(4000):
        seconds.now = step / 1000
        if admitted(admission):
            starts.append(seconds.now)
    most = max(sum(1 for other in starts if start <= other < start + 1) for start in starts[::7])
    assert most == 100
    assert len(starts) == 400


def test_projects_have_rates_and_pools_of_their_own():
    admission = Admission(max_concurrent_requests=1, requests_per_second=1, monotonic=Seconds())
    assert admitted(admission, "p")
    assert not admitted(admission, "p")
    assert admitted(admission, "q")


def test_each_host_has_its_open_requests():
    admission = Admission(max_concurrent_requests=2, requests_per_second=None)
    with admission.entered("p", "standard"), admission.entered("p", "standard"):
        assert not admitted(admission)
        assert admitted(admission, host="high-volume")
    assert admitted(admission)


def test_the_service_s_limits_hold_by_default():
    defaults = inspect.signature(Emulator).parameters
    assert defaults["requests_per_second"].default == 100
    assert defaults["max_concurrent_requests"].default == 40
    with Emulator(requests_per_second=3) as emulator:
        rest = Rest(emulator.url)
        answers = [rest.get("projects/p/assets/x") for _ in range(5)]
        assert [answer.status_code for answer in answers[:3]] == [404] * 3
        assert message(answers[4], 429) == TOO_MANY


def test_open_requests_are_counted_for_each_host():
    """One slow request fills the standard host; the other host and the Host header lead past it."""
    with Emulator(max_concurrent_requests=1) as emulator:
        rest, high = Rest(emulator.url), Rest(emulator.high_volume_url)
        assert emulator.url != emulator.high_volume_url
        emulator.inject("image:export", "stuck")
        name = rest.export(NDVI, grid=GRID, **to_bucket()).json()["name"]
        waiting = threading.Thread(target=lambda: rest.post(f"{name}:wait", {"timeout": "30s"}))
        waiting.start()
        limit = time.monotonic() + 10
        while "operations.wait" not in emulator.calls and time.monotonic() < limit:
            time.sleep(0.01)
        assert message(Rest(emulator.url).get(name), 429) == TOO_MANY
        assert high.get(name).status_code == 200
        named = requests.get(
            f"{emulator.url}/v1/{name}", headers={"Host": "earthengine-highvolume.googleapis.com"}, timeout=5
        )
        assert named.status_code == 200
        high.post(f"{name}:cancel", {})
        waiting.join()


def test_requests_that_travel_are_under_way_and_refusals_travel_too():
    latency = 0.4
    with Emulator(max_concurrent_requests=3, latency_seconds=latency) as emulator, ThreadPoolExecutor(5) as pool:
        began = time.monotonic()
        made = [pool.submit(lambda: Rest(emulator.url).get("projects/p/assets/x")) for _ in range(5)]
        answers = [each.result() for each in made]
        assert sorted(answer.status_code for answer in answers) == [404, 404, 404, 429, 429]
        assert all(answer.elapsed.total_seconds() >= latency for answer in answers)
        assert time.monotonic() - began < 5 * latency


@pytest.fixture(scope="module")
def guarded():
    tokens = {"good": ["earthengine"], "reader": ["earthengine.readonly"]}
    with Emulator(tokens=tokens, keys=["key-1"]) as running:
        yield running


def asked(guarded, method, path, token=None, **options):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return requests.request(method, f"{guarded.url}/v1/projects/p/{path}", headers=headers, timeout=5, **options)


def test_good_tokens_and_keys_are_let_in(guarded):
    body = {"expression": graph(1)}
    assert asked(guarded, "POST", "value:compute", "good", json=body).json() == {"result": 1}
    assert asked(guarded, "POST", "value:compute", "reader", json=body).status_code == 200
    assert asked(guarded, "POST", "value:compute", params={"key": "key-1"}, json=body).status_code == 200
    by_header = requests.post(
        f"{guarded.url}/v1/projects/p/value:compute", json=body, headers={"X-Goog-Api-Key": "key-1"}, timeout=5
    )
    assert by_header.status_code == 200


def test_missing_and_wrong_credentials_get_the_service_s_refusals(guarded):
    missing = asked(guarded, "POST", "value:compute", json={})
    assert "missing required authentication credential" in message(missing, 401)
    assert missing.headers["WWW-Authenticate"] == 'Bearer realm="https://accounts.google.com/"'
    assert missing.json()["error"]["status"] == "UNAUTHENTICATED"
    wrong = asked(guarded, "POST", "value:compute", "bad", json={})
    assert "invalid authentication credentials" in message(wrong, 401)
    assert 'error="invalid_token"' in wrong.headers["WWW-Authenticate"]
    key = asked(guarded, "POST", "value:compute", params={"key": "bad"}, json={})
    assert message(key) == "API key not valid. Please pass a valid API key."
    assert key.json()["error"]["details"][0]["reason"] == "API_KEY_INVALID"


def test_what_a_token_or_key_may_not_do(guarded):
    scope = asked(guarded, "DELETE", "assets/x", "reader")
    assert message(scope, 403) == "Request had insufficient authentication scopes."
    assert scope.json()["error"]["details"][0]["reason"] == "ACCESS_TOKEN_SCOPE_INSUFFICIENT"
    assert "API keys are not supported" in message(asked(guarded, "DELETE", "assets/x", params={"key": "key-1"}), 401)


def test_the_discovery_document_is_for_everybody(guarded):
    assert requests.get(f"{guarded.url}/$discovery/rest", timeout=5).status_code == 200


def test_credentials_are_shown_and_logged_nowhere(guarded, caplog):
    caplog.set_level(logging.DEBUG)
    guarded.inject("value:compute", "503")
    asked(guarded, "POST", "value:compute", "secret-token", params={"key": "secret-key"}, json={})
    shown = requests.get(f"{guarded.url}/emulator/requests", timeout=5).text
    shown += requests.get(f"{guarded.url}/emulator/state", timeout=5).text
    assert "value:compute" in shown
    logged = [record.getMessage() for record in caplog.records if not record.name.startswith("urllib3")]
    for text in (shown, "".join(logged), repr(guarded.requests)):
        assert "secret" not in text
    guarded.clear_faults()


def test_the_command_reads_tokens_with_their_scopes():
    from airflow_ee.emulator.http.credentials import ALL_SCOPES, Credentials

    credentials = Credentials.of(["a", "b=earthengine.readonly,drive"], ["k"])
    assert credentials.tokens == {"a": ALL_SCOPES, "b": {"earthengine.readonly", "drive"}}
    assert "k" in credentials.keys
    assert "a" not in repr(credentials).replace("Credentials", "")
