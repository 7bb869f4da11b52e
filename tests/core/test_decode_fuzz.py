"""Mutated answers of every kind: read or refused by an error of ours, never anything else, and never more memory than was asked for.

``make test-slow`` runs 200,000; a plain run 2,000. The failing case's number makes it again.
"""

import io
import json
import os
import socket
import threading
import time
import tracemalloc
import warnings
from contextlib import suppress
from random import Random

import numpy as np
import pytest

from airflow_ee.core import wire
from airflow_ee.core.decode import AnswerForm, decode_npy
from airflow_ee.core.errors import LONGEST_MESSAGE, EarthEngineError, MalformedResponse, error_from_status
from airflow_ee.core.settings import RetryPolicy
from airflow_ee.core.transport import Response
from tests.core import jobs

CASES = int(os.environ.get("AIRFLOW_EE_FUZZ_CASES", "2000"))
BATCH = 1000
SHAPE = (5, 7)
FORM = AnswerForm(("NDVI", "quality"), (np.dtype("i2"), np.dtype("f4")), "each")
MOST_BYTES = 256 * 1024
"""What reading one answer of two bands may take besides the answer itself."""
LONGEST_SECONDS = 1.0


def npy(dtype=FORM.dtype, shape=SHAPE, version=(1, 0)):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ones(shape, dtype), version=version)
    return file.getvalue()


GOOD = [npy(version=version) for version in ((1, 0), (2, 0), (3, 0))]


def with_header(text, random, body=b"\1" * 300):
    """An NPY file whose header says this, told with its right length or another."""
    content = text.encode("utf-8", "surrogatepass")
    size = random.choice(
        [len(content), len(content), len(content), random.randrange(1 << 16), random.randrange(1 << 32)]
    )
    version = 1 if size < 1 << 16 and random.random() < 0.5 else 2
    return b"\x93NUMPY" + bytes([version, 0]) + size.to_bytes(2 if version == 1 else 4, "little") + content + body


HEADER = "{'descr': [('NDVI', '<i2'), ('quality', '<f4'), ('NDVI__valid', '|u1'), ('quality__valid', '|u1')], 'fortran_order': False, 'shape': (5, 7), }"
PIECES = (
    "(", ")", "[", "]", "{", "}", ",", ":", "'", '"', "\\", "\\x41", "\\u0041", "\\ud800", "\\q", "'NDVI'", "'<i2'", "'O'", "'|O'", "'V99'",
    "'<i9'", "'>f8'", "'<M8[ns]'", "'(2,)i2'", "'descr'", "'shape'", "True", "None", "1e9", "9" * 5000, "-1", "0x7", "1_0", "\0", "\n", "é",
    "\u202e", "lambda: 0", "__import__('os')", "b'x'", "f'{1}'", "#", "5", "7", "(5, 7)", "()", "'" + "n" * 3000 + "'", "('a', '<i2')",
)  # fmt: skip


def tampered_text(random):
    """The header with pieces put in, taken out, doubled, nested."""
    text = HEADER
    for _ in range(random.randrange(1, 5)):
        at = random.randrange(len(text) + 1)
        match random.randrange(6):
            case 0:
                text = text[:at] + random.choice(PIECES) + text[at:]
            case 1:
                text = text[:at] + text[at + random.randrange(1, 20) :]
            case 2:
                end = min(len(text), at + random.randrange(1, 40))
                text = text[:end] + text[at:end] * random.choice([1, 2, 50]) + text[end:]
            case 3:
                depth = random.choice([1, 50, 2000])
                text = text[:at] + random.choice("([{") * depth + text[at:] + random.choice(")]}") * depth
            case 4:
                old = random.choice(["NDVI", "<i2", "False", "5", "7", "shape", "descr", "'"])
                text = text.replace(old, random.choice(PIECES), 1)
            case _:
                text = text[:at] + chr(random.randrange(1, 0xD7FF)) + text[at + 1 :]
        text = text[:20_000]
    return text


def tampered_bytes(content, random):
    """Bytes changed, cut off, put in, or more behind them."""
    body = bytearray(content)
    for _ in range(random.randrange(1, 6)):
        at = random.randrange(len(body) + 1)
        match random.randrange(5):
            case 0 if body:
                body[at % len(body)] = random.randrange(256)
            case 1:
                del body[at:]
            case 2:
                body[at:at] = random.randbytes(random.randrange(1, 40))
            case 3:
                del body[at : at + random.randrange(1, 40)]
            case _:
                body += random.randbytes(random.choice([1, 64, 5000]))
    return bytes(body)


def npy_case(random):
    if random.random() < 0.5:
        body = tampered_bytes(random.choice(GOOD), random)
    else:
        body = with_header(tampered_text(random), random, random.choice([b"", b"\1" * 280, b"\1" * 20_000]))
    array = FORM.read(memoryview(body), SHAPE)
    assert array.shape == SHAPE
    assert array.dtype.newbyteorder("=") == FORM.dtype
    assert decode_npy(body, shape=SHAPE).shape == SHAPE


def odd_value(random):
    """Any JSON value."""
    return random.choice(
        [None, True, 0, -1, 2.5, 1e308, 10**30, "", "x", "²", "2020-01-01T00:00:00Z", "\ud800", [], {}, [[]], [None], {"a": {}},
         ["a", 1], {"value": []}, "9" * 400, {"code": []}, json.loads("[" * 400 + "]" * 400)]
    )  # fmt: skip


def tampered_json(value, random):
    """The value with something else in some place."""
    if random.random() < 0.15:
        return odd_value(random)
    if isinstance(value, dict) and value:
        name = random.choice(list(value))
        if random.random() < 0.15:
            return {key: each for key, each in value.items() if key != name}
        return {**value, name: tampered_json(value[name], random)}
    if isinstance(value, list) and value:
        at = random.randrange(len(value))
        return [*value[:at], tampered_json(value[at], random), *value[at + 1 :]]
    return odd_value(random)


GRID = {
    "crsCode": "EPSG:4326",
    "dimensions": {"width": 5, "height": 4},
    "affineTransform": {"scaleX": 1.0, "translateX": 2.0, "scaleY": -1.0, "translateY": 3.0},
}
BAND = {"id": "b", "dataType": {"precision": "INT", "range": {"min": 0, "max": 255}}, "grid": GRID}
ASSET = {
    "name": "projects/p/assets/a", "type": "IMAGE", "id": "a", "startTime": "2020-01-01T00:00:00Z", "updateTime": "2020-01-01T00:00:00Z",
    "bands": [BAND], "properties": {"x": 1},
}  # fmt: skip
OPERATION = {
    "name": "projects/p/operations/X", "done": True, "error": {"code": 3, "message": "no"},
    "metadata": {
        "state": "FAILED", "type": "EXPORT_IMAGE", "description": "d", "priority": {"value": 3}, "attempt": 1, "progress": 0.5,
        "stages": [{"displayName": "s", "completeWorkUnits": 1, "totalWorkUnits": "2"}], "createTime": "2020-01-01T00:00:00Z",
        "destinationUris": ["x"], "batchEecuUsageSeconds": 3.5,
    },
}  # fmt: skip
STATUS = {
    "code": 403, "status": "PERMISSION_DENIED", "message": "no",
    "details": [{"reason": "SERVICE_DISABLED", "metadata": {"service": "x"}}],
}  # fmt: skip
VALUE = {"type": "Image", "bands": [{"id": "b", "data_type": {"precision": "int", "min": 0, "max": 255}}]}


def json_case(random):
    read, value = random.choice(
        [(wire.asset_from_rest, ASSET), (wire.operation_from_rest, OPERATION), (wire.bands_from_image_value, VALUE),
         (error_from_status, STATUS)]
    )  # fmt: skip
    if read is error_from_status:
        mangled = {
            **STATUS,
            **dict(zip(STATUS, (tampered_json(each, random) for each in STATUS.values()), strict=True)),
        }
        assert isinstance(
            error_from_status(mangled, http_status=random.choice([400, 403, 418, 500, None])), EarthEngineError
        )
    else:
        read(tampered_json(value, random))


def body_case(random):
    Response(tampered_bytes(json.dumps(random.choice([ASSET, OPERATION])).encode(), random), {}).json()
    raise MalformedResponse("read")


FAMILIES = [*[npy_case] * 8, json_case, body_case]
NOT_AN_IMAGE = "expression must give an image"
"""What a user is told whose expression gives something else: no failure of an answer."""


@pytest.mark.parametrize("first", range(0, CASES, BATCH))
def test_mutated_answers_are_read_or_refused(first):
    refused = 0
    for seed in range(first, min(first + BATCH, CASES)):
        began = time.perf_counter()
        told = outcome(Random(seed))
        assert told is None or isinstance(told, EarthEngineError) or NOT_AN_IMAGE in str(told), f"case {seed}: {told!r}"
        assert len(str(told).encode()) < LONGEST_MESSAGE + 1000, f"case {seed}"
        assert time.perf_counter() - began < LONGEST_SECONDS, f"case {seed}"
        refused += isinstance(told, EarthEngineError)
    assert refused > BATCH / 4


def outcome(random):
    """What came of a mutated answer: nothing, or whatever was raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            random.choice(FAMILIES)(random)
        except BaseException as error:  # noqa: BLE001 - the test looks at what it is
            return error
    return None


@pytest.mark.parametrize("first", range(0, max(CASES // 20, 100), BATCH))
def test_reading_takes_no_more_memory_than_was_asked_for(first):
    tracemalloc.start()
    try:
        for seed in range(first, min(first + BATCH, first + max(CASES // 20, 100))):
            random = Random(seed)
            body = with_header(tampered_text(random), random, b"\1" * 280)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            with suppress(MalformedResponse):
                FORM.read(memoryview(body), SHAPE)
            assert tracemalloc.get_traced_memory()[1] - before < MOST_BYTES, f"case {seed}"
    finally:
        tracemalloc.stop()


class Raw:
    """A server that answers every request with bytes, whatever they are."""

    def __init__(self):
        self.answer = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                client.settimeout(2)
                try:
                    self._serve(client)
                except OSError:
                    continue

    def _serve(self, client):
        content = b""
        while b"\r\n\r\n" not in content:
            content += client.recv(1 << 16)
        head, _, rest = content.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(rest) < length:
            rest += client.recv(1 << 16)
        client.sendall(self.answer)
        client.shutdown(socket.SHUT_WR)


@pytest.fixture
def raw():
    made = Raw()
    yield made
    made.close()


def head(status=b"200 OK", **headers):
    lines = [f"{name.replace('_', '-')}: {value}".encode("latin-1") for name, value in headers.items()]
    return b"\r\n".join([b"HTTP/1.1 " + status, *lines, b"", b""])


HEADS = [
    head(Content_Length="²"), head(Content_Length="9" * 5000), head(Content_Length=10**13), head(Content_Length=-5),
    head(Content_Length="1, 2"), head(Content_Length=0), head(Content_Length=300, Content_Encoding="gzip"),
    head(Content_Length=300, Content_Encoding="br, nonsense"), head(Transfer_Encoding="chunked") + b"zz\r\n",
    head(Transfer_Encoding="chunked") + b"fffffffffffffff\r\n", head(b"429 Too Many", Retry_After="²", Content_Length=0),
    head(b"503 Busy", Retry_After="9" * 400, Content_Length=0), head(b"503 Busy", Retry_After="Mon, 99 Foo 99999 25:61:61 GMT"),
    head(b"503 Busy", Retry_After="Thu, 01 Jan 0000 00:00:00 -9999"), head(b"500 Oops", Content_Length=10**13) + b'{"error": ',
    head(b"400 Bad") + b'{"error": ["x"]}', head(b"403 No") + b'{"error": {"status": [], "code": {}, "details": [{"reason": []}]}}',
    head(b"302 Found", Location="http://169.254.169.254/"), head(b"204 No Content"), head(b"101 Switching"), head(b"999 ?"),
    b"HTTP/9.9 200 OK\r\n\r\n", b"\x16\x03\x01", b"", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
]  # fmt: skip


def asked(client):
    """One request for pixels; what is too large for it is refused before memory is taken."""
    taken = []

    def take(size):
        taken.append(size)
        if size > 1 << 20:
            raise MalformedResponse("too large")
        return memoryview(bytearray(size))

    source = jobs.SOURCE
    grid = jobs.grid(10)
    client.fetch_pixels(source.call(client), grid, take=take, read=lambda body: source.form.read(body, grid.shape))


@pytest.mark.parametrize("index", range(len(HEADS)))
def test_answers_that_are_no_http_are_refused(raw, index):
    raw.answer = HEADS[index]
    once = RetryPolicy(attempts=1, total_seconds=1)
    with jobs.connected(raw.url, retry=once, request_timeout_seconds=3) as client, pytest.raises(EarthEngineError):
        asked(client)


@pytest.mark.parametrize("first", range(0, max(CASES // 50, 20), 100))
def test_mutated_http_is_refused(raw, first):
    once = RetryPolicy(attempts=1, total_seconds=0)
    good = head(Content_Type="application/octet-stream", Content_Length=len(GOOD[0])) + GOOD[0]
    with jobs.connected(raw.url, retry=once, request_timeout_seconds=3) as client:
        for seed in range(first, min(first + 100, max(CASES // 50, 20))):
            random = Random(seed)
            raw.answer = tampered_bytes(random.choice([good[: good.index(b"\x93") + 10], *HEADS]), random)
            try:
                asked(client)
            except EarthEngineError:
                continue
            except BaseException as error:
                raise AssertionError(f"case {seed}: {type(error).__name__}: {error}") from error
            raise AssertionError(f"case {seed} was taken for pixels")
