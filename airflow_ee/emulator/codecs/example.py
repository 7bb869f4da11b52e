"""tf.train.Example messages: a map of names to lists of bytes, floats or whole numbers, in protocol buffer form."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Values = Sequence[bytes] | NDArray[np.float32] | NDArray[np.int64]
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3
_LENGTH, _FIXED32 = 2, 5


def encode(features: Mapping[str, Values]) -> bytes:
    """An Example; float32 arrays become float lists, whole ones int64 lists, byte strings byte lists.

    >>> encode({"a": np.array([1], np.int64)}).hex()
    '0a0c0a0a0a016112051a030a0101'
    """
    return _field(1, b"".join(_field(1, _entry(name, values)) for name, values in features.items()))


def decode(data: bytes) -> dict[str, list[bytes] | NDArray[np.float32] | NDArray[np.int64]]:
    """The inverse of :func:`encode`."""
    (features,) = [part for number, part in _fields(data) if number == 1] or [b""]
    found = {}
    for _, entry in _fields(features):
        parts = dict(_fields(entry))
        found[parts[1].decode()] = _feature(parts.get(2, b""))
    return found


def _entry(name: str, values: Values) -> bytes:
    return _field(1, name.encode()) + _field(2, _encoded(values))


def _encoded(values: Values) -> bytes:
    if isinstance(values, np.ndarray):
        if values.dtype.kind == "f":
            return _field(_FLOAT_LIST, _field(1, values.astype("<f4").tobytes()))
        return _field(_INT64_LIST, _field(1, _varints(values.astype(np.int64))))
    return _field(_BYTES_LIST, b"".join(_field(1, value) for value in values))


def _feature(data: bytes) -> list[bytes] | NDArray[np.float32] | NDArray[np.int64]:
    for number, content in _fields(data):
        parts = [part for _, part in _fields(content)]
        if number == _FLOAT_LIST:
            return np.frombuffer(b"".join(parts), "<f4")
        return parts if number == _BYTES_LIST else _whole(b"".join(parts))
    return []


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH) + _varint(len(content)) + content


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place < len(data):
        key, place = _read_varint(data, place)
        if key & 7 == _FIXED32:
            size = 4
        elif key & 7 == _LENGTH:
            size, place = _read_varint(data, place)
        else:
            raise ValueError(f"wire type {key & 7} does not occur in an Example")
        if place + size > len(data):
            raise ValueError("an Example ends early")
        yield key >> 3, data[place : place + size]
        place += size


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if place >= len(data):
            raise ValueError("an Example ends early")
        byte = data[place]
        number |= (byte & 0x7F) << shift
        shift, place = shift + 7, place + 1
        if byte < 0x80:
            return number, place


def _varints(values: NDArray[np.int64]) -> bytes:
    """Many at once: seven bits to a byte, the top bit where more follow; negative ones take ten bytes."""
    words = values.ravel().view(np.uint64)[:, None]
    groups = words >> np.arange(0, 70, 7, dtype=np.uint64).clip(max=63)
    groups[:, 9] = words[:, 0] >> np.uint64(63)
    rest = np.flip(np.logical_or.accumulate(np.flip(groups != 0, axis=1), axis=1), axis=1)
    rest[:, 0] = True
    more = np.column_stack([rest[:, 1:], np.zeros(len(words), bool)])
    octets = (groups & 0x7F) | np.where(more, 0x80, 0).astype(np.uint64)
    return bytes(octets.astype(np.uint8)[rest].tobytes())


def _whole(data: bytes) -> NDArray[np.int64]:
    found, place = [], 0
    while place < len(data):
        number, place = _read_varint(data, place)
        found.append(struct.unpack("<q", struct.pack("<Q", number))[0])
    return np.array(found, np.int64)
