"""TFRecord files of ``tf.train.Example`` messages, written by hand: no TensorFlow, no generated code.

A record is its length, a checksum of the length, the message and a checksum of the message (CRC-32C, rotated and
offset), as TensorFlow's ``record_writer`` has it. A message is a map of names to lists of bytes, floats or whole numbers, in protocol
buffer form. Equal features make equal bytes, and a gzipped file has neither a time nor a name in it.
"""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
import numpy.typing as npt

__all__ = [
    "GzipPiece",
    "GzipWriter",
    "deflate_piece",
    "encode_example",
    "example_parts",
    "feature_kind",
    "frame_parts",
    "frame_record",
    "pixel_feature",
]

Array = npt.NDArray[Any]
Feature = bytes | str | Sequence[bytes] | Array

BYTES_LIST, FLOAT_LIST, INT64_LIST = 1, 2, 3
_LENGTH_DELIMITED = 2
_MASK_DELTA = 0xA282EAD8
GZIP_LEVEL = 1
"""Higher ones make patches smaller by a hundredth, and take twice the time."""
# Magic, deflate, no flags, no time, no extra flags, unknown system.
_GZIP_HEADER = bytes.fromhex("1f8b08000000000000ff")
_LAST_BLOCK = b"\x03\x00"


def encode_example(features: Mapping[str, Feature]) -> bytes:
    """A ``tf.train.Example`` with its features in the order given.

    Parameters
    ----------
    features
        Name to values: float arrays become float lists (float32), whole and boolean ones int64 lists, both packed and in
        row-major order; bytes, text or a sequence of bytes become bytes lists.

    Examples
    --------
    >>> encode_example({"a": np.array([1])}).hex()
    '0a0c0a0a0a016112051a030a0101'
    """
    return b"".join(example_parts(features))


def example_parts(features: Mapping[str, Feature]) -> list[bytes]:
    """The same as :func:`encode_example` in pieces, which belong one after the other: large ones need not be copied again."""
    parts: list[bytes] = []
    for name, values in features.items():
        kind, content = _content(values)
        parts += [_entry_head(name, kind, len(content)), content]
    return [_key(1) + _varint(sum(map(len, parts))), *parts]


def pixel_feature(values: Array) -> Feature:
    r"""The feature of a band's pixels, typed as Earth Engine's own TFRecord exports type them.

    Bands of unsigned bytes are one byte string, other whole numbers an int64 list, real ones a float list.

    >>> pixel_feature(np.array([[1, 2]], np.uint8))
    b'\x01\x02'
    """
    return values.tobytes() if values.dtype == np.uint8 else values


def feature_kind(dtype: np.dtype[Any]) -> str:
    """What :func:`pixel_feature` makes of a band's type: ``bytes``, ``int64`` or ``float``.

    >>> feature_kind(np.dtype("int16"))
    'int64'
    """
    if dtype == np.uint8:
        return "bytes"
    return "float" if dtype.kind == "f" else "int64"


def frame_record(data: bytes) -> bytes:
    """A message as it stands in the file.

    >>> frame_record(b"").hex()
    '000000000000000029039807d8ea82a2'
    """
    return b"".join(frame_parts([data]))


def frame_parts(parts: Sequence[bytes]) -> list[bytes]:
    """A message given in pieces as it stands in the file, in pieces."""
    length = struct.pack("<Q", sum(map(len, parts)))
    return [length + _masked_crc([length]), *parts, _masked_crc(parts)]


@dataclass(frozen=True, slots=True)
class GzipPiece:
    """A stretch of a gzip file, compressed apart from the others."""

    deflated: bytes
    """Deflate blocks that end on a whole byte."""
    crc: int
    """CRC-32 of what was compressed."""
    size: int
    """Bytes of what was compressed."""


def deflate_piece(*parts: bytes) -> GzipPiece:
    """Compress a stretch of a gzip file, given in pieces, in any thread.

    Pieces are put together by :class:`GzipWriter` to one gzip member, the same whoever compressed them, and in as many threads as there are.
    """
    compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    deflated = [compressor.compress(part) for part in parts]
    deflated.append(compressor.flush(zlib.Z_SYNC_FLUSH))
    crc = functools.reduce(lambda crc, part: zlib.crc32(part, crc), parts, 0)
    return GzipPiece(b"".join(deflated), crc, sum(map(len, parts)))


class GzipWriter:
    """Writes pieces as one gzip member without a time or a name, so that equal pieces make equal files.

    >>> import gzip, io
    >>> file = io.BytesIO()
    >>> writer = GzipWriter(file)
    >>> for word in (b"one ", b"two"):
    ...     writer.write(deflate_piece(word))
    >>> writer.finish()
    >>> gzip.decompress(file.getvalue())
    b'one two'
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._crc = 0
        self._size = 0
        file.write(_GZIP_HEADER)

    def write(self, piece: GzipPiece) -> None:
        """Add the next piece."""
        self._file.write(piece.deflated)
        self._crc = _joined_crc(self._crc, piece.crc, piece.size)
        self._size += piece.size

    def finish(self) -> None:
        """End the member; the file stays open."""
        self._file.write(_LAST_BLOCK + struct.pack("<II", self._crc, self._size & 0xFFFFFFFF))


def _content(values: Feature) -> tuple[int, bytes]:
    """Kind of list, and what stands in it; of arrays without the head of the one field that holds all of their numbers."""
    if not isinstance(values, np.ndarray):
        texts = [values] if isinstance(values, bytes | str) else values
        encoded = [text.encode() if isinstance(text, str) else text for text in texts]
        return BYTES_LIST, b"".join(_key(1) + _varint(len(text)) + text for text in encoded)
    if values.dtype.kind == "f":
        return FLOAT_LIST, values.astype("<f4", copy=False).tobytes()
    if values.dtype.kind in "iub":
        return INT64_LIST, _varints(values)
    raise ValueError(f"a feature's array must hold numbers, got {values.dtype}")


@functools.lru_cache(maxsize=4096)
def _entry_head(name: str, kind: int, size: int) -> bytes:
    """All that stands before a feature's values: of fixed-size patches it is the same in every record."""
    packed = b"" if kind == BYTES_LIST else _key(1) + _varint(size)
    values = _key(kind) + _varint(len(packed) + size) + packed
    encoded = name.encode()
    entry = _key(1) + _varint(len(encoded)) + encoded + _key(2) + _varint(len(values) + size) + values
    return _key(1) + _varint(len(entry) + size) + entry


def _key(number: int) -> bytes:
    return bytes([number << 3 | _LENGTH_DELIMITED])


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _varints(values: Array) -> bytes:
    """Many whole numbers at once: seven bits to a byte, the top bit where more follow; negative ones take ten bytes."""
    if values.size == 0:
        return b""
    words = values.ravel().astype(np.int64).view(np.uint64)
    lengths = np.ones(words.size, np.uint8)
    longest = 1
    while longest < 10 and (words >> np.uint64(7 * longest)).any():
        lengths += words >= np.uint64(1) << np.uint64(7 * longest)
        longest += 1
    octets = np.empty((words.size, longest), np.uint8)
    for place in range(longest):
        octets[:, place] = (words >> np.uint64(7 * place)) & np.uint64(0x7F)
        octets[:, place] |= (lengths > place + 1).astype(np.uint8) << np.uint8(7)
    return octets[np.arange(longest) < lengths[:, None]].tobytes()


def _masked_crc(parts: Sequence[bytes]) -> bytes:
    crc = 0
    for part in parts:
        crc = google_crc32c.extend(crc, part)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF)


def _joined_crc(first: int, second: int, size: int) -> int:
    """CRC-32 of two stretches from those of each: the CRC is linear, so the first is moved by ``size`` zeros."""
    zeros = bytes(size)
    return zlib.crc32(zeros, first) ^ zlib.crc32(zeros) ^ second
