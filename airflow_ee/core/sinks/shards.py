"""Shards of patches: files that each hold a stretch of the patches, in their order, equal bytes for equal patches.

A patch is encoded in whatever thread fetched it, and written in its turn by one. A shard is made in a scratch folder and published when
it is complete.
"""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import google_crc32c
import numpy as np
import numpy.typing as npt

from airflow_ee.core.sinks.base import Location
from airflow_ee.core.sinks.layout import MASK_SUFFIX, BandLayout
from airflow_ee.core.sinks.tfrecord import (
    GzipPiece,
    GzipWriter,
    deflate_piece,
    example_parts,
    feature_kind,
    frame_parts,
    pixel_feature,
)

__all__ = [
    "Fact",
    "Patch",
    "ShardFormat",
    "ShardLayout",
    "ShardWriter",
    "TFRecordShards",
    "publish_shard",
]

Array = npt.NDArray[Any]
PLACE = ("point", "image", "longitude", "latitude", "crs", "transform")
"""Names of what is told of a patch's place, which bands and labels may not have."""
READ_BYTES = 1 << 16
"""Larger pieces are fresh memory each time."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is told of every patch besides its pixels."""

    name: str
    kind: Literal["int64", "float64", "string"]
    length: int = 1
    """Numbers of which it consists."""
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardLayout:
    """What every patch of a dataset has.

    >>> ShardLayout(width=2, height=2, bands=(BandLayout(name="point", dtype=np.dtype("u1")),))
    Traceback (most recent call last):
    ValueError: bands and labels must have different names, and none of point, image, longitude, latitude, crs, transform; got point twice
    """

    width: int
    height: int
    bands: tuple[BandLayout, ...]
    masked: bool = True
    """Whether each band has a mask: uint8, 1 where the pixel is valid."""
    labels: tuple[Fact, ...] = ()
    imaged: bool = False
    """Whether a patch says of which image it is."""

    def __post_init__(self) -> None:
        names = [*(band.name for band in self.bands), *self.mask_names, *(label.name for label in self.labels), *PLACE]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"bands and labels must have different names, and none of {', '.join(PLACE)}; got {', '.join(twice)} twice"
            )

    @property
    def mask_names(self) -> tuple[str, ...]:
        """One a band, or none."""
        return tuple(band.name + MASK_SUFFIX for band in self.bands) if self.masked else ()

    @property
    def facts(self) -> tuple[Fact, ...]:
        """All that is told of a patch besides its pixels, in order."""
        image = (Fact("image", "string", description="asset id of the image"),) if self.imaged else ()
        return (
            Fact("point", "int64", description="index of the point, from 0, in the order given"),
            *image,
            Fact("longitude", "float64", description="of the point, in degrees"),
            Fact("latitude", "float64", description="of the point, in degrees"),
            Fact("crs", "string", description="of the patch's pixels"),
            Fact(
                "transform",
                "float64",
                6,
                "a, b, c, d, e, f: x = a*col + b*row + c, y = d*col + e*row + f, in the crs's units",
            ),
            *self.labels,
        )

    @property
    def dtype(self) -> np.dtype[Any]:
        """The narrowest type that holds all bands."""
        return np.result_type(*(band.dtype for band in self.bands))


@dataclass(frozen=True, slots=True)
class Patch:
    """The pixels around one point, and what is known of them."""

    values: tuple[Array, ...]
    """One array of shape (height, width) a band."""
    masks: tuple[Array, ...]
    """One uint8 array of shape (height, width) a band; none where no masks were asked for."""
    facts: Mapping[str, Any]
    """By the names of the layout's facts."""


class ShardWriter(Protocol):
    """Writes one shard."""

    def write(self, encoded: Any) -> None:
        """Add a patch, as the format's ``encode`` made it."""
        ...

    def finish(self) -> None:
        """Complete the shard."""
        ...

    def close(self) -> None:
        """Let go of all files, whether the shard is complete or not."""
        ...


class ShardFormat(Protocol):
    """A kind of shard."""

    @property
    def suffix(self) -> str:
        """Ending of a shard's name."""
        ...

    def encode(self, patch: Patch) -> Any:
        """A patch as it will be written; called in many threads. Keeps none of the patch's arrays."""
        ...

    def open(self, path: Path) -> ShardWriter:
        """Begin the shard at a scratch path."""
        ...

    def describe(self) -> dict[str, Any]:
        """What a reader has to know, as JSON values: each feature's or array's kind, type and shape."""
        ...


@dataclass(frozen=True, slots=True)
class TFRecordShards:
    """Shards of ``tf.train.Example`` records, one a patch."""

    layout: ShardLayout
    gzip: bool = True

    @property
    def suffix(self) -> str:
        """Ending of a shard's name."""
        return ".tfrecord.gz" if self.gzip else ".tfrecord"

    def encode(self, patch: Patch) -> list[bytes] | GzipPiece:
        """The framed record of a patch."""
        features: dict[str, Any] = {}
        for band, values in zip(self.layout.bands, patch.values, strict=True):
            features[band.name] = pixel_feature(values)
        for name, mask in zip(self.layout.mask_names, patch.masks, strict=True):
            features[name] = mask.tobytes()
        for fact in self.layout.facts:
            features[fact.name] = _fact_feature(fact, patch.facts[fact.name])
        record = frame_parts(example_parts(features))
        return deflate_piece(*record) if self.gzip else record

    def open(self, path: Path) -> ShardWriter:
        """Begin a shard."""
        return _GzippedShard(path) if self.gzip else _PlainShard(path)

    def describe(self) -> dict[str, Any]:
        """The features of a record."""
        shape = [self.layout.height, self.layout.width]
        features: dict[str, Any] = {}
        for band in self.layout.bands:
            features[band.name] = {"feature": feature_kind(band.dtype), "dtype": _stored(band.dtype), "shape": shape}
        for name in self.layout.mask_names:
            features[name] = {"feature": "bytes", "dtype": "uint8", "shape": shape}
        for fact in self.layout.facts:
            features[fact.name] = {**_fact_type(fact), "description": fact.description}
        return features


def publish_shard(path: Path, target: Location) -> tuple[int, str]:
    """Make a finished shard visible; tell its bytes and its CRC-32C as Cloud Storage writes it.

    Of a folder the root's metadata come last: before them no reader takes it for a dataset.
    """
    # A file is replaced in one step, and stays until then.
    if path.is_dir():
        target.remove()
    crc = size_bytes = 0
    for file, place in _files(path, target):
        size_bytes += file.stat().st_size
        with file.open("rb") as content:
            while chunk := content.read(READ_BYTES):
                crc = google_crc32c.extend(crc, chunk)
        place.publish(file)
    return size_bytes, base64.b64encode(crc.to_bytes(4, "big")).decode()


class _PlainShard:
    """Records one after the other."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write(self, encoded: list[bytes]) -> None:
        self._file.writelines(encoded)

    def finish(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class _GzippedShard:
    """Records one after the other, in one gzip member."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._gzip = GzipWriter(self._file)

    def write(self, encoded: GzipPiece) -> None:
        self._gzip.write(encoded)

    def finish(self) -> None:
        self._gzip.finish()
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _files(path: Path, target: Location) -> Iterator[tuple[Path, Location]]:
    if path.is_file():
        yield path, target
        return
    names = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    for name in sorted(names, key=lambda name: (posixpath.dirname(name) == "", name)):
        yield path / name, target / name


def _fact_feature(fact: Fact, value: Any) -> Any:
    if fact.kind == "string":
        return value
    if fact.length > 1:
        # float lists hold single precision: a patch's place would be off by metres.
        return np.asarray(value, "<f8").tobytes()
    return np.array([value], np.int64 if fact.kind == "int64" else np.float32)


def _fact_type(fact: Fact) -> dict[str, Any]:
    if fact.kind == "string":
        return {"feature": "bytes", "dtype": "string", "shape": []}
    if fact.length > 1:
        return {"feature": "bytes", "dtype": "float64", "shape": [fact.length]}
    return {"feature": "int64", "dtype": "int64", "shape": []} if fact.kind == "int64" else {
        "feature": "float", "dtype": "float32", "shape": []
    }  # fmt: skip


def _stored(dtype: np.dtype[Any]) -> str:
    """A band's type once it was read from its list."""
    return {"bytes": "uint8", "float": "float32", "int64": "int64"}[feature_kind(dtype)]
