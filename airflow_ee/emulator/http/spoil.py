"""Answers that go wrong on their way: what each kind of fault makes of a response."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from starlette.responses import Response

from airflow_ee.emulator.http.answers import MARKER, Unfinished
from airflow_ee.emulator.http.faults import Fault, error_page

BEFORE = ("refuse", "page", "drop", "reset", "hang")
"""Faults that come in the place of the work."""

_NPY_MAGIC = b"\x93NUMPY"
_TYPE = re.compile(rb"'([<|])([fiu])([1248])'")
_SHAPE = re.compile(rb"\((\d+), (\d+)\), \} *")
_SWAPPED = {b"f": b"i", b"i": b"u", b"u": b"i"}
"""Kinds of numbers that come in the same sizes: the bytes stay as many, and mean something else."""


def spoiled(fault: Fault, response: Response, silence: Callable[[], Awaitable[None]] | None) -> Response:
    """The response as the fault leaves it."""
    match fault.action:
        case "page":
            return Response(error_page(fault.status), fault.status, {MARKER: "true"}, "text/html; charset=UTF-8")
        case "truncate":
            return Unfinished(response)
        case "stall":
            return Unfinished(response, silence)
        case "content-type":
            return _with_body(response, bytes(response.body), fault.content_type)
        case "scramble":
            return _with_body(response, bytes(255 - byte for byte in response.body))
        case "wrong-dtype":
            return _with_body(response, with_wrong_dtype(bytes(response.body)))
        case "wrong-header":
            return _with_body(response, with_wrong_header(bytes(response.body)))
        case "wrong-length":
            return _with_body(response, bytes(response.body[:-1]))
        case "wrong-shape":
            return _with_body(response, with_wrong_shape(bytes(response.body)))
        case _:
            return Response(b"\x00garbage<html>", 200, {MARKER: "true"}, response.media_type)


def _with_body(response: Response, body: bytes, content_type: str | None = None) -> Response:
    kept = {MARKER: response.headers.get(MARKER, "true")}
    return Response(body, response.status_code, kept, content_type or response.headers.get("content-type"))


def with_wrong_dtype(body: bytes) -> bytes:
    r"""An NPY file of the same length whose header names other types of the same size; anything else is left as it is.

    >>> with_wrong_dtype(b"\x93NUMPY...'<f4'...")
    b"\x93NUMPY...'<i4'..."
    """
    if not body.startswith(_NPY_MAGIC):
        return body
    end = body.find(b"\n") + 1 or len(body)
    header = _TYPE.sub(lambda found: b"'" + found[1] + _SWAPPED[found[2]] + found[3] + b"'", body[:end])
    return header + body[end:]


def with_wrong_header(body: bytes) -> bytes:
    """An NPY file of the same length whose description has other bytes; anything else is left as it is."""
    if not body.startswith(_NPY_MAGIC):
        return body
    start = len(_NPY_MAGIC) + 4
    end = body.find(b"\n") + 1 or len(body)
    return body[:start] + bytes(255 - byte for byte in body[start:end]) + body[end:]


def with_wrong_shape(body: bytes) -> bytes:
    r"""An NPY file of the same length whose header names one row that holds all pixels, or one column where there is one row.

    >>> with_wrong_shape(b"\x93NUMPY...'shape': (20, 30), }  \n...")
    b"\x93NUMPY...'shape': (1, 600), }  \n..."
    """
    if not body.startswith(_NPY_MAGIC):
        return body
    end = body.find(b"\n") + 1 or len(body)
    return _SHAPE.sub(_in_one_row, body[:end], count=1) + body[end:]


def _in_one_row(found: re.Match[bytes]) -> bytes:
    rows, cols = int(found[1]), int(found[2])
    shape = (rows * cols, 1) if rows == 1 else (1, rows * cols)
    # Spaces before the line's end fill the header to a round length.
    return f"{shape}, }}".encode().ljust(len(found[0]))
