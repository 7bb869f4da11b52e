"""What is hostile or broken on the wire: names that are paths, bodies that are no bodies, clients that never finish."""

import json
import random
import socket
import time

import pytest
import requests

from airflow_ee.emulator import Emulator
from airflow_ee.emulator.http import app, server

from .conftest import UTM, Rest, call, graph, message
from .test_exports import GRID, NDVI

ONE = graph(call("Image.constant", value=1))


def port_of(url):
    return int(url.rsplit(":", 1)[1])


def exchanged(url, data, *, seconds=5):
    """Raw bytes to the server, and what comes back until it closes or is silent."""
    with socket.create_connection(("127.0.0.1", port_of(url)), timeout=seconds) as raw:
        raw.sendall(data)
        answer = b""
        while piece := raw.recv(65536):
            answer += piece
    return answer


def raw_request(http, target, body=b""):
    head = f"{http} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode("latin-1") + body


def status(answer):
    return int(answer.split(b" ", 2)[1])


def outside(root):
    """Everything near the root that is not below it."""
    return sorted(path for path in root.parent.rglob("*") if root not in path.parents and path != root)


TRICKS = [
    "..",
    "../../escaped",
    "%2e%2e/%2e%2e/escaped",
    "%2e%2e%2f%2e%2e%2fescaped",
    "..%5c..%5cescaped",
    "a/../../../../escaped",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "a%00b",
    "%00",
    "a//b",
    "./a",
    "a/.",
    "%c3%a9%f0%9f%9a%80",
    "%ff%fe",
    "a" * 300,
    "/".join("a" * 100 for _ in range(60)),
    "asset.json",
    "policy.json",
    "%0d%0aSet-Cookie:x",
    "con:aux",
    "~root",
    "$HOME",
    "%252e%252e",
]


@pytest.fixture
def caged(tmp_path):
    root = tmp_path / "cage" / "root"
    root.mkdir(parents=True)
    with Emulator(root=root, requests_per_second=None, pending_seconds=0, running_seconds=0) as running:
        yield running


@pytest.mark.parametrize("trick", TRICKS, ids=range(len(TRICKS)))
def test_names_that_are_paths_never_leave_the_root(caged, trick):
    before = outside(caged.root)
    folder = json.dumps({"type": "FOLDER"}).encode()
    targets = [
        ("GET", f"/v1/projects/p/assets/{trick}", b""),
        ("GET", f"/v1/projects/p/assets/{trick}:listAssets", b""),
        ("DELETE", f"/v1/projects/p/assets/{trick}", b""),
        ("PATCH", f"/v1/projects/p/assets/{trick}", b'{"asset": {"properties": {"a": 1}}, "updateMask": "properties"}'),
        ("POST", f"/v1/projects/p/assets/{trick}:setIamPolicy", b'{"policy": {"bindings": []}}'),
        ("POST", f"/v1/projects/p/assets/{trick}:copy", b'{"destinationName": "projects/p/assets/x"}'),
        ("POST", f"/v1/projects/p/assets?assetId={trick}", folder),
        ("GET", f"/v1/projects/{trick}/operations", b""),
        ("GET", f"/v1/projects/p/operations/{trick}", b""),
        ("DELETE", f"/v1/projects/p/operations/{trick}", b""),
    ]
    for http, target, body in targets:
        answer = exchanged(caged.url, raw_request(http, target, body))
        assert status(answer) < 500, (http, target, answer)
        assert b"root:" not in answer
    assert outside(caged.root) == before


@pytest.mark.parametrize(
    "trick", ["../../escaped", "/tmp/escaped", "a/../../b", "..", "a\u0000b", "é" * 200, "a" * 5000]
)
def test_destinations_that_are_paths_never_leave_the_root(caged, trick):
    rest, before = Rest(caged.url), outside(caged.root)
    places = [
        {
            "fileExportOptions": {
                "fileFormat": "GEO_TIFF",
                "cloudStorageDestination": {"bucket": "b", "filenamePrefix": trick},
            }
        },
        {
            "fileExportOptions": {
                "fileFormat": "GEO_TIFF",
                "cloudStorageDestination": {"bucket": trick, "filenamePrefix": "p"},
            }
        },
        {
            "fileExportOptions": {
                "fileFormat": "GEO_TIFF",
                "driveDestination": {"folder": trick, "filenamePrefix": trick},
            }
        },
        {"assetExportOptions": {"earthEngineDestination": {"name": f"projects/p/assets/{trick}"}}},
    ]
    for place in places:
        answer = rest.export(NDVI, grid=GRID, **place)
        assert answer.status_code < 500, answer.text
        if answer.status_code == 200:
            rest.ended(answer.json()["name"])
    moved = rest.post("projects/p/assets/x:copy", {"destinationName": f"projects/p/assets/{trick}"})
    assert 400 <= moved.status_code < 500
    assert outside(caged.root) == before


@pytest.fixture(scope="module")
def open_server():
    with Emulator(requests_per_second=None) as running:
        yield running


def test_it_listens_on_loopback_unless_told_otherwise(open_server):
    assert open_server.url.startswith("http://127.0.0.1:")
    assert open_server.high_volume_url.startswith("http://127.0.0.1:")
    with (
        pytest.raises(OSError, match=".*"),
        socket.create_connection((own_address(), port_of(open_server.url)), timeout=1),
    ):
        pass


def own_address():
    """An address of this machine other than loopback; one of documentation's own where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "192.0.2.1"
        return probe.getsockname()[0]


def test_a_body_that_says_it_is_too_long_is_refused_before_it_comes(open_server):
    head = b"POST /v1/projects/p/value:compute HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n{"
    with socket.create_connection(("127.0.0.1", port_of(open_server.url)), timeout=5) as raw:
        raw.sendall(head)
        answer = b""
        while not answer.endswith(b"}\n"):
            answer += raw.recv(65536)
    assert status(answer) == 400
    assert b"Request payload size exceeds the limit: 10485760 bytes." in answer


def test_a_body_without_a_length_is_cut_at_the_limit(open_server):
    def chunks():
        for _ in range(200):
            yield b"x" * 100_000

    answer = requests.post(f"{open_server.url}/v1/projects/p/value:compute", data=chunks(), timeout=20)
    assert message(answer) == "Request payload size exceeds the limit: 10485760 bytes."


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"3", b"null", b'"x"', b"\xff\xfe", b"{'a': 1}", b"[" * 100_000, b'{"a": 1e999}', b'{"a": NaN}',
     b'{"expression": "\\ud800"}', b"9" * 10_000],
)  # fmt: skip
def test_bodies_that_are_no_messages_are_refused(open_server, body):
    answer = requests.post(f"{open_server.url}/v1/projects/p/value:compute", data=body, timeout=5)
    assert message(answer)
    assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"


WEIRD = [
    None,
    True,
    0,
    -1,
    2**70,
    1.5,
    "",
    "x",
    "\u0000",
    [],
    {},
    [[]],
    [None],
    {"value": None},
    {"value": [1]},
    "9" * 500,
]
FULL = {
    "expression": ONE,
    "fileFormat": "PNG",
    "grid": UTM,
    "bandIds": ["constant"],
    "visualizationOptions": {
        "ranges": [{"min": 0, "max": 1}],
        "paletteColors": ["red", "blue"],
        "gamma": 1,
        "opacity": 0.5,
    },
    "workloadTag": "a",
}


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield from places(each, (*path, key))


def spoilt(body, path, weird):
    copy = json.loads(json.dumps(body))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = weird
    return copy


def test_wrong_types_anywhere_in_a_body_are_the_caller_s_fault(open_server):
    rest = Rest(open_server.url)
    draw = random.Random(5)
    for path in [path for path in places(FULL) if path]:
        for weird in draw.sample(WEIRD, 5):
            answer = rest.post(f"{rest.project}/image:computePixels", spoilt(FULL, path, weird))
            assert answer.status_code in (200, 400), (path, weird, answer.text)


def test_both_forms_of_wrapped_numbers_and_both_forms_of_names(open_server):
    rest = Rest(open_server.url)
    plain = {**FULL, "visualizationOptions": {"ranges": [{"min": 0, "max": 2}], "gamma": 0.5}}
    wrapped = {**FULL, "visualizationOptions": {"ranges": [{"min": "0", "max": 2}], "gamma": {"value": 0.5}}}
    snake = {{"fileFormat": "file_format", "bandIds": "band_ids"}.get(key, key): value for key, value in plain.items()}
    first, *others = (rest.post(f"{rest.project}/image:computePixels", each) for each in (plain, wrapped, snake))
    assert first.status_code == 200, first.text
    assert all(other.content == first.content for other in others)


def test_unknown_query_parameters_are_named(open_server):
    answer = requests.get(f"{open_server.url}/v1/projects/p/assets/x", params={"fjelds": "a"}, timeout=5)
    assert "Unknown name \"fjelds\": Cannot bind query parameter. Field 'fjelds'" in message(answer)
    assert "alt=proto" in message(requests.get(f"{open_server.url}/v1/projects/p/assets/x?alt=proto", timeout=5))
    assert requests.get(f"{open_server.url}/v1/projects/p/assets/x?alt=json&$.xgafv=2", timeout=5).status_code == 404


def test_other_verbs_and_unknown_paths(open_server):
    url = f"{open_server.url}/v1/projects/p/algorithms"
    head = requests.head(url, timeout=5)
    assert head.status_code == 200
    assert int(head.headers["content-length"]) > 100_000
    options = requests.options(url, timeout=5)
    assert options.status_code == 204
    assert options.headers["allow"] == "GET, HEAD, OPTIONS"
    for http, path in [
        ("PUT", "/v1/projects/p/algorithms"),
        ("OPTIONS", "/v1/x"),
        ("GET", "/"),
        ("BREW", "/v1"),
        ("GET", "/v2/projects/p"),
    ]:
        answer = requests.request(http, open_server.url + path, timeout=5)
        assert answer.status_code == 404
        assert answer.json()["error"]["status"] == "NOT_FOUND"


@pytest.mark.parametrize(
    "data",
    [b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\nConnection: close\r\n\r\n", b"\x00" * 2000 + b"\r\n\r\n",
     b"GET / HTTP/1.1\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
     b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
     b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
     b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
)  # fmt: skip
def test_what_is_no_http_is_refused_and_harms_nobody(open_server, data):
    try:
        answer = exchanged(open_server.url, data)
    except ConnectionResetError:  # closed with bytes unread
        answer = b""
    assert not answer or status(answer) in (400, 404)
    assert requests.get(f"{open_server.url}/healthz", timeout=5).status_code == 200


def test_slow_heads_are_given_up(monkeypatch):
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.3)
    with Emulator() as emulator, socket.create_connection(("127.0.0.1", port_of(emulator.url)), timeout=5) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        start = time.monotonic()
        assert raw.recv(100) == b""
        assert time.monotonic() - start < 3


def test_slow_bodies_are_given_up_and_hold_up_nobody(monkeypatch):
    monkeypatch.setattr(app, "BODY_SECONDS", 0.5)
    with Emulator() as emulator:
        head = b"POST /v1/projects/p/value:compute HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
        slow = [socket.create_connection(("127.0.0.1", port_of(emulator.url)), timeout=5) for _ in range(60)]
        for raw in slow:
            raw.sendall(head)
        assert Rest(emulator.url).value(graph(1)) == 1
        answers = [raw.recv(1000) for raw in slow]
        for raw in slow:
            raw.close()
        assert set(answers) == {b""} or all(status(answer) >= 400 for answer in answers)


@pytest.mark.parametrize("timeout", ["nan", "infs", "-1s", "1", "1e3s", 5])
def test_what_is_no_duration_is_refused(open_server, timeout):
    answer = requests.post(f"{open_server.url}/v1/projects/p/operations/X:wait", json={"timeout": timeout}, timeout=5)
    assert "timeout" in message(answer)
