"""CRC-32C (Castagnoli), as TFRecord files guard their records with it.

Long inputs are cut into lanes that numpy follows side by side; the remainders are then put together, since the CRC of two parts
in a row is that of the first, moved on by the length of the second, exclusive-or that of the second.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78
_ALL_ONES = 0xFFFFFFFF
_LANES = 256
_SHORT = 4096
"""Up to here a plain loop is quicker."""

_MASK_DELTA = 0xA282EAD8

Words = NDArray[np.uint32]


def crc32c(data: bytes) -> int:
    """The checksum of some bytes.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    length = len(data) // _LANES if len(data) > _SHORT else 0
    state = _ALL_ONES
    if length:
        state = _joined(_lanes(data[: length * _LANES], length), length)
    return _plain(data[length * _LANES :], state) ^ _ALL_ONES


def masked_crc32c(data: bytes) -> int:
    """The form in which TFRecord writes a checksum: rotated and moved, so that the checksum of checksums is no special case."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & _ALL_ONES


@cache
def _table() -> Words:
    values = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = np.where(values & 1, (values >> 1) ^ np.uint32(_POLYNOMIAL), values >> 1)
    return values


@cache
def _table_list() -> list[int]:
    return [int(word) for word in _table()]


def _plain(data: bytes, state: int) -> int:
    table = _table_list()
    for byte in data:
        state = table[(state ^ byte) & 0xFF] ^ (state >> 8)
    return state


def _lanes(data: bytes, length: int) -> Words:
    """The state after each lane: the first starts as the whole does, the others from zero."""
    columns = np.frombuffer(data, np.uint8).reshape(_LANES, length).T.astype(np.uint32, order="C")
    table = _table()
    state = np.zeros(_LANES, np.uint32)
    state[0] = _ALL_ONES
    for column in columns:
        state = table[(state ^ column) & 0xFF] ^ (state >> 8)
    return state


def _joined(states: Words, length: int) -> int:
    moved = _moved(length)
    joined = 0
    for state in states.tolist():
        joined = (
            moved[0][joined & 0xFF]
            ^ moved[1][joined >> 8 & 0xFF]
            ^ moved[2][joined >> 16 & 0xFF]
            ^ (moved[3][joined >> 24] ^ state)
        )
    return joined


@cache
def _moved(length: int) -> list[list[int]]:
    """For each byte of a state, what it becomes after ``length`` zero bytes."""
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    images = bits
    table = _table()
    for _ in range(length):
        images = table[images & 0xFF] ^ (images >> 8)
    return [_combinations(images[8 * byte : 8 * byte + 8]) for byte in range(4)]


def _combinations(images: Words) -> list[int]:
    values = np.zeros(256, np.uint32)
    for bit, image in enumerate(images):
        values ^= np.where(np.arange(256) >> bit & 1, image, np.uint32(0)).astype(np.uint32)
    return [int(value) for value in values]
