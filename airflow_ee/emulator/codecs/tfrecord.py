"""TFRecord files: records one after the other, each with its length and two checksums."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from airflow_ee.emulator.codecs.crc32c import masked_crc32c


class TFRecordError(ValueError):
    """A file that ends early, or whose checksums do not match."""


def framed(data: bytes) -> bytes:
    """A record as it stands in the file.

    >>> framed(b"").hex()
    '000000000000000029039807d8ea82a2'
    """
    length = struct.pack("<Q", len(data))
    return b"".join((length, _checksum(length), data, _checksum(data)))


def records(file: BinaryIO) -> Iterator[bytes]:
    """The records of a file, each checked."""
    while header := file.read(12):
        if len(header) < 12 or _checksum(header[:8]) != header[8:]:
            raise TFRecordError("the length of a record is spoilt")
        (length,) = struct.unpack("<Q", header[:8])
        data, checksum = file.read(length), file.read(4)
        if len(data) < length or _checksum(data) != checksum:
            raise TFRecordError("a record is spoilt")
        yield data


def _checksum(data: bytes) -> bytes:
    return struct.pack("<I", masked_crc32c(data))
