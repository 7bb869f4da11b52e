"""Directories of TIFF files, and files put together of blocks that others have compressed.

GDAL compresses blocks and makes directories; here blocks are only moved: from many files into one, or into the order that a
cloud-optimized file has. Sources: TIFF 6.0, sections 2 and 15; the BigTIFF design (tag types 13 and 16 to 18); and, for the ghost area
and the bytes around blocks, the page of GDAL's COG driver.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

__all__ = ["BlockSource", "Directory", "Tag", "check_whole", "read_directories", "write_tiff"]

Offsets = npt.NDArray[np.uint64]

BIG_BYTES = 1 << 31
"""Larger files are BigTIFF. Others end at 4 GiB, and what is no larger than this has room for overviews."""
SUBFILE_TYPE, WIDTH, HEIGHT, COMPRESSION = 254, 256, 257, 259
NODATA = 42113
"""GDAL's own tag, text."""
OFFSETS, SIZES = (273, 324), (279, 325)
"""Tags that tell where blocks lie and how long they are: of strips, of tiles."""
REDUCED, MASK = 1, 4
"""Bits of the subfile type: an overview, a mask."""
_BIG = 43
_KIND_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_LONG, _LONG8 = 4, 16
_NUMBERS = {3: "<u2", 4: "<u4", 16: "<u8"}
_LEADER = struct.Struct("<I")
_GHOST = (
    "LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nBLOCK_LEADER=SIZE_AS_UINT4\nBLOCK_TRAILER=LAST_4_BYTES_REPEATED\n"
    "KNOWN_INCOMPATIBLE_EDITION=NO\n "
)
_GHOST_OF_MASKS = "MASK_INTERLEAVED_WITH_IMAGERY=YES\n"
_INCOMPLETE = "The file could not be written to its end, perhaps there is no room on the disk"


@dataclass(frozen=True, slots=True)
class Tag:
    """One entry of a directory."""

    code: int
    kind: int
    """Type of the values as TIFF numbers them."""
    count: int
    content: bytes
    """The values, little-endian."""

    @property
    def numbers(self) -> npt.NDArray[np.uint64]:
        """The values of a tag of whole numbers, shape ``(count,)``.

        Raises
        ------
        KeyError
            When it has others.
        """
        return np.frombuffer(self.content, _NUMBERS[self.kind], self.count).astype(np.uint64)


@dataclass(frozen=True, slots=True)
class Directory:
    """One image of a file: the whole one, an overview, or the mask of one of these."""

    tags: tuple[Tag, ...]
    """By code; without those that tell where blocks are."""
    tiled: bool
    offsets: Offsets
    sizes: Offsets

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)``"""
        return self._number(HEIGHT), self._number(WIDTH)

    @property
    def is_mask(self) -> bool:
        """Whether it tells where another one is valid."""
        return bool(self._number(SUBFILE_TYPE) & MASK)

    def with_number(self, code: int, number: int) -> Directory:
        """The same with another value of a tag that holds one whole number."""
        tags = tuple(
            replace(tag, content=np.array(number, _NUMBERS[tag.kind]).tobytes()) if tag.code == code else tag
            for tag in self.tags
        )
        return replace(self, tags=tags)

    def with_text(self, code: int, text: str) -> Directory:
        """The same with another value of a tag that holds text."""
        content = text.encode("ascii") + b"\0"
        tags = tuple(
            replace(tag, count=len(content), content=content) if tag.code == code else tag for tag in self.tags
        )
        return replace(self, tags=tags)

    def _number(self, code: int) -> int:
        return next((int(tag.numbers[0]) for tag in self.tags if tag.code == code), 0)


@dataclass(frozen=True, slots=True)
class BlockSource:
    """Where the blocks of an image are: block ``i`` lies in ``files[file_of[i]]`` at ``offsets[i]``, ``sizes[i]`` bytes long."""

    directory: Directory
    files: Sequence[Path]
    file_of: npt.NDArray[np.intp]
    offsets: Offsets
    sizes: Offsets

    @classmethod
    def within(cls, file: Path, directory: Directory) -> BlockSource:
        """The blocks of a directory in its own file."""
        where = np.zeros(len(directory.offsets), np.intp)
        return cls(directory, [file], where, directory.offsets, directory.sizes)


def read_directories(file: Path | memoryview) -> list[Directory]:
    """All images of a little-endian TIFF or BigTIFF, in the file's order; pixels are not read.

    Raises
    ------
    ValueError
        When it is no such file, or its directories are not whole.
    """
    content = _content(file) if isinstance(file, Path) else file
    try:
        return list(_directories(content))
    except (struct.error, KeyError, IndexError) as problem:
        raise ValueError(f"the directories of the TIFF file are not whole: {problem!r}") from problem


def check_whole(file: Path, *, images: int) -> None:
    """Look whether all blocks of all images lie inside the file: GDAL does not tell when the last of what it writes finds no room.

    Parameters
    ----------
    images
        How many there have to be: masks and overviews count.

    Raises
    ------
    OSError
        When something is missing.
    """
    size = file.stat().st_size
    try:
        found = read_directories(file)
    except ValueError:
        found = []
    if len(found) != images or not all(_lies_inside(directory, size) for directory in found):
        raise OSError(errno.EIO, _INCOMPLETE)


def write_tiff(file: Path, sources: Sequence[BlockSource], *, cloud_optimized: bool) -> None:
    """Write images, their directories first, and their blocks as they are.

    Images come in the order full size, its mask, first overview, its mask and so on; blocks of the smallest overview come first. In a
    cloud-optimized file each block is followed by its mask's, and has its size before it.

    Parameters
    ----------
    sources
        In any order, each mask of the size of its image.

    Raises
    ------
    OSError
        When the file cannot be written.
    """
    levels = _levels(sources)
    order = [source for level in levels for source in level]
    ghost = _ghost(masked=any(len(level) > 1 for level in levels)) if cloud_optimized else b""
    extra = 2 * _LEADER.size if cloud_optimized else 0
    big = sum(int(source.sizes.sum()) + extra * len(source.sizes) for source in order) > BIG_BYTES
    head = _head_bytes(order, ghost, big=big)
    sequence = list(_sequence(levels, interleaved=cloud_optimized))
    places = _places(order, sequence, start=head, extra=extra)
    with file.open("wb") as target:
        target.write(_head(order, places, ghost, big=big))
        _copy_blocks(target, order, sequence, framed=cloud_optimized)


def _content(file: Path) -> memoryview:
    return np.memmap(file, np.uint8, "r").data if file.stat().st_size else memoryview(b"")


def _lies_inside(directory: Directory, size: int) -> bool:
    offsets, sizes = directory.offsets, directory.sizes
    return bool((offsets > 0).all() and (sizes > 0).all() and (offsets + sizes).max() <= size)


def _directories(content: memoryview) -> Iterator[Directory]:
    if bytes(content[:2]) != b"II":
        raise ValueError("this is no little-endian TIFF file")
    big = struct.unpack_from("<H", content, 2)[0] == _BIG
    count_form, word, entry_bytes = ("<Q", "<Q", 20) if big else ("<H", "<I", 12)
    at = struct.unpack_from(word, content, 8 if big else 4)[0]
    seen = set()
    while at:
        if at in seen:
            raise ValueError(f"the directory at byte {at} follows itself")
        seen.add(at)
        count = struct.unpack_from(count_form, content, at)[0]
        first = at + struct.calcsize(count_form)
        last = first + count * entry_bytes
        yield _directory([_tag(content, place, word) for place in range(first, last, entry_bytes)])
        at = struct.unpack_from(word, content, last)[0]


def _tag(content: memoryview, at: int, word: str) -> Tag:
    code, kind = struct.unpack_from("<HH", content, at)
    count = struct.unpack_from(word, content, at + 4)[0]
    place, room = at + 4 + struct.calcsize(word), struct.calcsize(word)
    size = count * _KIND_BYTES[kind]
    if size > room:
        place = struct.unpack_from(word, content, place)[0]
    if place + size > len(content):
        raise IndexError(f"tag {code} ends at byte {place + size} of {len(content)}")
    return Tag(code, kind, count, bytes(content[place : place + size]))


def _directory(tags: Sequence[Tag]) -> Directory:
    by_code = {tag.code: tag for tag in tags}
    (offsets,), (sizes,) = ([by_code[code] for code in codes if code in by_code] for codes in (OFFSETS, SIZES))
    rest = tuple(tag for tag in tags if tag.code not in OFFSETS + SIZES)
    return Directory(rest, offsets.code == OFFSETS[1], offsets.numbers, sizes.numbers)


def _levels(sources: Sequence[BlockSource]) -> list[list[BlockSource]]:
    """Images by size, the largest first, each followed by its mask."""
    by_shape: dict[tuple[int, int], list[BlockSource]] = {}
    for source in sources:
        by_shape.setdefault(source.directory.shape, []).append(source)
    return [
        sorted(level, key=lambda source: source.directory.is_mask)
        for _, level in sorted(by_shape.items(), key=lambda pair: pair[0], reverse=True)
    ]


def _sequence(levels: Sequence[Sequence[BlockSource]], *, interleaved: bool) -> Iterator[tuple[int, int]]:
    """Which block comes when: number of its image in the file, and its own."""
    starts = np.cumsum([0, *(len(level) for level in levels)])
    for first, level in reversed(list(zip(starts, levels, strict=False))):
        numbers = [int(first) + index for index in range(len(level))]
        if interleaved and len({len(source.sizes) for source in level}) == 1:
            yield from ((number, block) for block in range(len(level[0].sizes)) for number in numbers)
        else:
            yield from (
                (number, block)
                for number, source in zip(numbers, level, strict=True)
                for block in range(len(source.sizes))
            )


def _places(
    order: Sequence[BlockSource], sequence: Sequence[tuple[int, int]], *, start: int, extra: int
) -> list[Offsets]:
    """Offsets of all blocks in the new file."""
    places = [np.zeros(len(source.sizes), np.uint64) for source in order]
    at = start
    for image, block in sequence:
        places[image][block] = at + extra // 2
        at += int(order[image].sizes[block]) + extra
    return places


def _ghost(*, masked: bool) -> bytes:
    text = _GHOST + (_GHOST_OF_MASKS if masked else "")
    return f"GDAL_STRUCTURAL_METADATA_SIZE={len(text):06d} bytes\n{text}".encode()


def _head_bytes(order: Sequence[BlockSource], ghost: bytes, *, big: bool) -> int:
    """Length of all that comes before the first block: it does not depend on where blocks are."""
    return len(_head(order, [source.sizes for source in order], ghost, big=big))


def _head(order: Sequence[BlockSource], places: Sequence[Offsets], ghost: bytes, *, big: bool) -> bytes:
    """Header and directories."""
    head = bytearray(struct.pack("<2sHHHQ", b"II", _BIG, 8, 0, 0) if big else struct.pack("<2sHI", b"II", 42, 0))
    word = "<Q" if big else "<I"
    link = len(head) - struct.calcsize(word)
    head += ghost
    for source, offsets in zip(order, places, strict=True):
        head += bytes(-len(head) % 8)
        struct.pack_into(word, head, link, len(head))
        link = _append_directory(head, _block_tags(source, offsets, big=big), big=big)
    return bytes(head) + bytes(-len(head) % 8)


def _block_tags(source: BlockSource, offsets: Offsets, *, big: bool) -> list[Tag]:
    tiled = source.directory.tiled
    kind = _LONG8 if big else _LONG
    where = Tag(OFFSETS[tiled], kind, len(offsets), offsets.astype(_NUMBERS[kind]).tobytes())
    sizes = Tag(SIZES[tiled], _LONG, len(offsets), source.sizes.astype("<u4").tobytes())
    return sorted((*source.directory.tags, where, sizes), key=lambda tag: tag.code)


def _append_directory(head: bytearray, tags: Sequence[Tag], *, big: bool) -> int:
    """Add a directory and what does not fit into its entries; tells where the place of the next one is to be put."""
    word, room = ("<Q", 8) if big else ("<I", 4)
    head += struct.pack("<Q" if big else "<H", len(tags))
    at = len(head)
    entry = 4 + 2 * room
    head += bytes(len(tags) * entry + room)
    for tag in tags:
        struct.pack_into("<HH", head, at, tag.code, tag.kind)
        struct.pack_into(word, head, at + 4, tag.count)
        if len(tag.content) <= room:
            head[at + 4 + room : at + 4 + room + len(tag.content)] = tag.content
        else:
            head += bytes(-len(head) % 8)
            struct.pack_into(word, head, at + 4 + room, len(head))
            head += tag.content
        at += entry
    return at


def _copy_blocks(
    target: BinaryIO, order: Sequence[BlockSource], sequence: Sequence[tuple[int, int]], *, framed: bool
) -> None:
    def file_of(place: tuple[int, int]) -> Path:
        image, block = place
        return order[image].files[int(order[image].file_of[block])]

    for file, places in groupby(sequence, file_of):
        with file.open("rb") as parts:
            for image, block in places:
                size = int(order[image].sizes[block])
                content = os.pread(parts.fileno(), size, int(order[image].offsets[block]))
                if len(content) < size:
                    raise OSError(errno.EIO, f"{file.name} has lost its end")
                target.write(_LEADER.pack(size) + content + content[-4:] if framed else content)
