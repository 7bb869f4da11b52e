"""What names of files in a bucket tell: which belong together, and which band each holds."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence

__all__ = ["BAND_PATTERN", "SOURCE_SUFFIXES", "files_of_bands", "image_files", "table_files"]

BAND_PATTERN = r"_(?P<band>(?:(?:SR|ST|TOA)_)?B\d{1,2}[A-Za-z]?|QA_?[A-Z0-9]*)$"
"""Bands as Landsat and Sentinel-2 name them: ``_B4``, ``_B8A``, ``_SR_B5``, ``_QA60``, ``_QA_PIXEL``."""
IMAGES, IMAGE_COMPANIONS = (".tif", ".tiff"), (".prj", ".tfw", ".tifw")
TABLES = {"CSV files": (".csv",), "shapefiles": (".shp",), "zipped shapefiles": (".zip",)}
SOURCE_SUFFIXES = (*IMAGES, *(suffix for suffixes in TABLES.values() for suffix in suffixes))
"""Of the files that an import can be made of, each by itself or with companions."""
SHAPE_NEEDS = ".dbf"


def image_files(uris: Iterable[str]) -> dict[str, list[str]]:
    """The GeoTIFFs among ``uris``, in order of their names, each with the files that belong to it.

    >>> image_files(["gs://b/x.tfw", "gs://b/x.tif", "gs://b/readme.txt"])
    {'gs://b/x.tif': ['gs://b/x.tif', 'gs://b/x.tfw']}
    """
    names = sorted(uris)
    images = [name for name in names if _suffix(name) in IMAGES]
    if not images:
        raise ValueError(f"there is no GeoTIFF ({', '.join(IMAGES)}) among {_in_words(names)}")
    return {image: [image, *_companions(image, names, IMAGE_COMPANIONS)] for image in images}


def files_of_bands(images: Sequence[str], band_pattern: str) -> dict[str, list[str]]:
    """Images by the band that their names end in; empty when none does.

    >>> files_of_bands(["gs://b/west_B4.tif", "gs://b/west_B8A.tif", "gs://b/east_B4.tif", "gs://b/east_B8A.tif"], BAND_PATTERN)
    {'B4': ['gs://b/west_B4.tif', 'gs://b/east_B4.tif'], 'B8A': ['gs://b/west_B8A.tif', 'gs://b/east_B8A.tif']}

    Raises
    ------
    ValueError
        When some names end in a band and others do not, or a piece of the mosaic lacks a band.
    """
    try:
        pattern = re.compile(band_pattern)
        matches = {image: pattern.search(_stem(image)) for image in images}
        named = {image: (match["band"], match.start()) for image, match in matches.items() if match}
    except (re.error, IndexError) as problem:
        raise ValueError(
            f"band_pattern must be a regular expression with (?P<band>...), got {band_pattern!r}: {problem}"
        ) from None
    if not named:
        return {}
    plain = [image for image in images if image not in named]
    if plain:
        raise ValueError(
            f"some names end in a band, such as {next(iter(named))}, and others do not, such as {plain[0]}: give another "
            "prefix, or a band_pattern that fits them all"
        )
    pieces: dict[str, dict[str, str]] = {}
    for image, (band, end) in named.items():
        pieces.setdefault(band, {})[_stem(image)[:end]] = image
    every = {piece for found in pieces.values() for piece in found}
    for band, found in pieces.items():
        if lacking := sorted(every - set(found)):
            raise ValueError(f"band {band} is missing of {lacking[0]}, which has others")
    return {band: list(pieces[band].values()) for band in sorted(pieces, key=_as_counted)}


def table_files(uris: Iterable[str]) -> list[str]:
    """The tables among ``uris``, in order of their names.

    >>> table_files(["gs://b/2.csv", "gs://b/1.csv"])
    ['gs://b/1.csv', 'gs://b/2.csv']
    """
    names = sorted(uris)
    found = {kind: [name for name in names if _suffix(name) in suffixes] for kind, suffixes in TABLES.items()}
    kinds = [kind for kind, tables in found.items() if tables]
    if not kinds:
        suffixes = ", ".join(suffix for each in TABLES.values() for suffix in each)
        raise ValueError(f"there is no table ({suffixes}) among {_in_words(names)}")
    if len(kinds) > 1:
        raise ValueError(f"there are {' and '.join(kinds)} among {_in_words(names)}: one table has files of one kind")
    tables = found[kinds[0]]
    if kinds == ["shapefiles"]:
        for shape in tables:
            if not _companions(shape, names, (SHAPE_NEEDS,)):
                raise ValueError(f"{shape} has no {SHAPE_NEEDS} beside it, in which its columns would be")
    return tables


def _companions(file: str, names: Sequence[str], suffixes: Sequence[str]) -> list[str]:
    stem = posixpath.splitext(file)[0]
    return [name for name in names if posixpath.splitext(name)[0] == stem and _suffix(name) in suffixes]


def _suffix(name: str) -> str:
    return posixpath.splitext(name)[1].lower()


def _stem(name: str) -> str:
    return posixpath.splitext(name)[0]


def _as_counted(band: str) -> list[tuple[int, str]]:
    """B2 before B10, and B8A behind B8."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"\d+|\D+", band)]


def _in_words(names: Sequence[str]) -> str:
    return f"{len(names)} objects, such as {names[0]}" if names else "no objects at all"
