"""Messages between two processes: JSON and raw bytes behind it, each with its length."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import IO, Any, NamedTuple

_LENGTHS = struct.Struct(">IQ")


class Message(NamedTuple):
    """What is said, and the bytes that come with it."""

    content: dict[str, Any]
    payload: bytes = b""


def write(stream: IO[bytes], content: Mapping[str, Any], payload: bytes = b"") -> None:
    """Send one message.

    >>> import io
    >>> pipe = io.BytesIO()
    >>> write(pipe, {"job": 1}, b"pixels")
    >>> read(io.BytesIO(pipe.getvalue()))
    Message(content={'job': 1}, payload=b'pixels')
    """
    text = json.dumps(content).encode()
    stream.write(_LENGTHS.pack(len(text), len(payload)) + text)
    stream.write(payload)
    stream.flush()


def read(stream: IO[bytes]) -> Message | None:
    """Receive one message; None when the other side is gone, even in the middle of a message."""
    head = stream.read(_LENGTHS.size)
    if len(head) < _LENGTHS.size:
        return None
    text_length, payload_length = _LENGTHS.unpack(head)
    text, payload = stream.read(text_length), stream.read(payload_length)
    if len(text) + len(payload) < text_length + payload_length:
        return None
    return Message(json.loads(text), payload)
