"""Pictures that the service renders: where they come from is written into them, and simulated ones show it."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

__all__ = ["describe_png", "mark_simulated"]

_PNG = b"\x89PNG\r\n\x1a\n"
# Letters of 5 x 7 pixels, a row a number, its bits from left to right.
_LETTERS = {
    "S": (14, 17, 16, 14, 1, 17, 14),
    "I": (14, 4, 4, 4, 4, 4, 14),
    "M": (17, 27, 21, 21, 17, 17, 17),
    "U": (17, 17, 17, 17, 17, 17, 14),
    "L": (16, 16, 16, 16, 16, 16, 31),
    "A": (14, 17, 17, 31, 17, 17, 17),
    "T": (31, 4, 4, 4, 4, 4, 4),
    "E": (31, 16, 16, 30, 16, 16, 31),
    "D": (30, 17, 17, 17, 17, 17, 30),
}
_WORD = "SIMULATED"


def describe_png(picture: bytes, tags: Mapping[str, str]) -> bytes:
    """Add text chunks to a PNG, which image libraries show as its metadata; other formats come back as they are.

    >>> describe_png(b"no picture", {"source": "x"})
    b'no picture'
    """
    if not picture.startswith(_PNG):
        return picture
    # The first chunk is IHDR: length, name, 13 bytes, checksum.
    head = len(_PNG) + 4 + 4 + 13 + 4
    chunks = b"".join(_chunk(b"tEXt", f"{name}\0{text}".encode("latin-1", "replace")) for name, text in tags.items())
    return picture[:head] + chunks + picture[head:]


def mark_simulated(picture: bytes) -> bytes:
    """Write SIMULATED into the picture's upper left corner, where it is large enough to hold the word."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with MemoryFile(picture) as source, source.open() as file:  # type: ignore[no-untyped-call]
            driver, pixels = file.driver, file.read()
    word = _word()
    height, width = word.shape
    if pixels.shape[1] < height or pixels.shape[2] < width:
        return picture
    corner = pixels[:, :height, :width]
    corner[:] = np.where(word, 255, 0)
    if pixels.shape[0] in {2, 4}:
        corner[-1] = 255
    return _encode(pixels, driver)


def _word() -> npt.NDArray[np.bool_]:
    letters = [
        np.array([[bits >> (4 - col) & 1 for col in range(5)] for bits in _LETTERS[letter]], bool) for letter in _WORD
    ]
    return np.pad(np.hstack([np.pad(letter, ((0, 0), (0, 1))) for letter in letters]), 2)


def _encode(pixels: npt.NDArray[Any], driver: str) -> bytes:
    count, height, width = pixels.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with MemoryFile() as target:  # type: ignore[no-untyped-call]
            with target.open(driver=driver, width=width, height=height, count=count, dtype=pixels.dtype) as file:
                file.write(pixels)
            return bytes(target.read())


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
