"""Training patches: pixels around points, written as shards in the points' order.

Every point has one patch of each image. Shards hold stretches of points; each is published when all of its patches are there, and recorded. So a
task that was killed fetches only the shards that are missing, and ends with the same bytes, whatever order answers came in.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from airflow_ee import __version__
from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.errors import IncompleteJob
from airflow_ee.core.patch_fetch import ImagePixels, PatchRequest, PatchSource, fetch_patches
from airflow_ee.core.patch_grids import PatchGrids, PatchRule
from airflow_ee.core.patch_manifest import MANIFEST, SCRATCH, Manifest, ShardRecord, shard_name
from airflow_ee.core.patch_plan import PatchPlan
from airflow_ee.core.points import Points
from airflow_ee.core.progress import Progress
from airflow_ee.core.sinks.base import Location, scratch_directory
from airflow_ee.core.sinks.layout import BandLayout
from airflow_ee.core.sinks.shards import Fact, Patch, ShardFormat, ShardLayout, ShardWriter, publish_shard

__all__ = ["DESCRIPTION", "ON_MASKED", "PatchDataset", "PatchSummary", "patch_layout"]

ON_MASKED = ("keep", "skip", "fail")
DESCRIPTION = "dataset.json"
DATASET_FORMAT = 1
"""Raised when the same request would give other shards than before."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchSummary:
    """What was made."""

    shards: tuple[ShardRecord, ...]
    made: int
    """Shards that were not there before."""
    fetched: Mapping[str, Any]
    """Requests, repeated ones, bytes and waits of this run: :meth:`.Progress.summary`."""
    digest: str
    """Of all that was asked for."""

    def total(self, name: str) -> int:
        """The sum of a field over all shards."""
        return sum(int(getattr(shard, name)) for shard in self.shards)


@dataclass(frozen=True, kw_only=True)
class PatchDataset:
    """Everything that makes a dataset of patches what it is."""

    points: Points
    plan: PatchPlan
    layout: ShardLayout
    form: ShardFormat
    form_name: str
    """As users write it."""
    folder: Location
    on_masked: str = "keep"
    """What becomes of a patch that has fewer valid pixels than ``min_valid_fraction``, or none: ``keep``, ``skip``, ``fail``. A pixel is
    valid where every band is."""
    min_valid_fraction: float = 0.0
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """What the description tells of the source, as JSON values; other ones make another dataset."""

    def __post_init__(self) -> None:
        if self.on_masked not in ON_MASKED:
            raise ValueError(f"on_masked must be one of {', '.join(ON_MASKED)}, got {self.on_masked!r}")
        if not 0 <= self.min_valid_fraction <= 1:
            raise ValueError(f"min_valid_fraction must be in 0..1, got {self.min_valid_fraction}")
        if self.min_valid_fraction and self.on_masked == "keep":
            raise ValueError("min_valid_fraction needs on_masked='skip' or 'fail': with 'keep' every patch is written")
        if self.on_masked != "keep" and not self.source.masked:
            raise ValueError(f"on_masked={self.on_masked!r} needs masks: without them no pixel is known to be masked")

    @property
    def source(self) -> PatchSource:
        """What the pixels come from."""
        return self.plan.source

    @property
    def grids(self) -> PatchGrids:
        """Where the patches lie."""
        return self.plan.grids

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all shards."""
        count = self.plan.shard_count
        return tuple(shard_name(number, count, self.form.suffix) for number in range(count))

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of all that the shards depend on."""
        rule, source = self.grids.rule, self.source
        asked = {
            "format": [DATASET_FORMAT, self.form_name, self.form.suffix],
            "points": self.points.digest,
            "grid": [rule.width, rule.height, rule.crs, rule.scale, rule.transform, rule.snap],
            "images": source.images,
            "expression": source.expression.digest if source.expression else None,
            "bands": [[band.id, band.dtype.str] for band in source.bands],
            "masks": [source.masked, source.min_mask, self.on_masked, self.min_valid_fraction],
            "points_per_shard": self.plan.shard_points,
            "provenance": self.provenance,
        }
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    def make(self, client: EarthEngineClient, *, max_concurrency: int | None = None) -> PatchSummary:
        """Make the shards that are missing, then the description.

        Raises
        ------
        EarthEngineError
            The first failure that cannot be cured; shards that were recorded stay.
        ValueError
            With ``on_masked='fail'``, a patch that has too few valid pixels.
        OSError
            When a shard cannot be written; the message names it.
        """
        manifest, missing = self._resume()
        progress = Progress()
        self._make_shards(client, missing, manifest, max_concurrency, progress)
        return self._complete(manifest, len(missing), progress)

    def begin(self) -> list[int]:
        """Make ready for workers, and tell which shards are missing, by number."""
        return self._resume()[1]

    def store(
        self,
        client: EarthEngineClient,
        shards: Sequence[int],
        progress: Progress,
        *,
        max_concurrency: int | None = None,
    ) -> None:
        """Make some shards and record each; many processes may do so for one dataset, after :meth:`begin`.

        A shard that two of them make, because an engine ran a piece of work twice, is made of the same bytes.

        Raises
        ------
        EarthEngineError, ValueError, OSError
            As :meth:`make`.
        """
        manifest = Manifest(self.folder, self.digest, shared=True)
        self._make_shards(client, shards, manifest, max_concurrency, progress)

    def left(self, shards: Sequence[int]) -> list[int]:
        """Those of some shards that nobody has made; changes nothing."""
        there = Manifest(self.folder, self.digest).recorded()
        return [number for number in shards if self.names[number] not in there]

    def finish(self) -> PatchSummary:
        """Describe the dataset whose shards workers have made.

        Raises
        ------
        IncompleteJob
            When a shard is missing.
        """
        manifest, missing = self._resume()
        if missing:
            raise IncompleteJob(
                f"{self.folder.url}: {len(missing)} of {len(self.names)} shards are not there, {self.names[missing[0]]} among them; "
                "run the job again, it goes on with what it has"
            )
        return self._complete(manifest, 0, Progress(total=len(self.names)))

    def _resume(self) -> tuple[Manifest, list[int]]:
        self.folder.remove_leftovers(*self.names, MANIFEST, DESCRIPTION)
        manifest = Manifest(self.folder, self.digest)
        manifest.resume(self.names)
        there = {record.file for record in manifest.records}
        return manifest, [number for number, name in enumerate(self.names) if name not in there]

    def _complete(self, manifest: Manifest, made: int, progress: Progress) -> PatchSummary:
        manifest.check()
        summary = PatchSummary(shards=manifest.records, made=made, fetched=progress.summary(), digest=self.digest)
        (self.folder / DESCRIPTION).write_bytes(json.dumps(self.describe(summary), indent=1).encode())
        return summary

    def describe(self, summary: PatchSummary) -> dict[str, Any]:
        """All that a reader of the shards has to know, as JSON values."""
        rule = self.grids.rule
        counts = {name: summary.total(name) for name in ("patches", "fully_masked", "partly_masked", "left_out")}
        origin = {
            "request_digest": summary.digest,
            "software": f"airflow-ee {__version__}",
            "simulated": any(shard.simulated for shard in summary.shards),
        }
        # A job file has its keys sorted: equal datasets are described by equal bytes.
        provenance = json.loads(json.dumps(self.provenance, sort_keys=True))
        return {
            "file_format": self.form_name,
            "features": self.form.describe(),
            "bands": [_described(band) for band in self.layout.bands],
            "masks": list(self.layout.mask_names),
            "labels": {label.name: label.kind for label in self.layout.labels},
            "patch_size": [rule.width, rule.height],
            "grid": {"crs": rule.crs, "scale": rule.scale, "crs_transform": rule.transform, "snap": rule.snap},
            "counts": {"points": len(self.points), "patches_per_point": self.source.count, **counts},
            "masked": {"on_masked": self.on_masked, "min_valid_fraction": self.min_valid_fraction},
            "shards": [shard.describe() for shard in summary.shards],
            "provenance": {**provenance, **origin},
        }

    def _make_shards(
        self,
        client: EarthEngineClient,
        missing: Sequence[int],
        manifest: Manifest,
        max_concurrency: int | None,
        progress: Progress,
    ) -> None:
        """Make shards one after the other, out of one stream of requests."""
        progress.total = sum(1 for _ in self.plan.requests(missing))
        concurrency, requests = client.settings.at_most(max_concurrency), self.plan.requests(missing)
        with (
            scratch_directory(self.folder / SCRATCH) as directory,
            closing(_Maker(self, client, manifest, directory)) as maker,
        ):
            fetch_patches(
                client, self.source, requests, self._encode, maker.take, concurrency=concurrency, progress=progress
            )

    def _encode(self, request: PatchRequest, images: list[ImagePixels]) -> list[_Encoded]:
        """Every patch of an answer, in order, as the shard will hold it."""
        return [
            self._encode_patch(point, corner, image, pixels)
            for point, corner in zip(request.points, request.corners, strict=True)
            for image, pixels in zip(request.images, images, strict=True)
        ]

    def _encode_patch(self, point: int, corner: tuple[int, int], image: int, pixels: ImagePixels) -> _Encoded:
        rule = self.grids.rule
        window = (slice(corner[0], corner[0] + rule.height), slice(corner[1], corner[1] + rule.width))
        masks = tuple(mask[window] for mask in pixels.masks)
        fraction = _valid_fraction(masks)
        if fraction == 0 or fraction < self.min_valid_fraction:
            if self.on_masked == "fail":
                # Not raised here: answers come in any order, and the first patch shall be named.
                return _Encoded(fraction, kept=False, refusal=self._refusal(point, image, fraction))
            if self.on_masked == "skip":
                return _Encoded(fraction, kept=False)
        values = tuple(array[window] for array in pixels.values)
        content = self.form.encode(Patch(values, masks, self._facts(point, image)))
        return _Encoded(fraction, kept=True, content=content)

    def _facts(self, point: int, image: int) -> dict[str, Any]:
        facts = {
            "point": point,
            "longitude": float(self.points.longitudes[point]),
            "latitude": float(self.points.latitudes[point]),
            "crs": self.grids.crs(point),
            "transform": self.grids.grid(point).transform,
            **{label.name: self.points.label(label.name, point) for label in self.layout.labels},
        }
        return {**facts, "image": self.source.images[image]} if self.layout.imaged else facts

    def _refusal(self, point: int, image: int, fraction: float) -> str:
        place = f"({self.points.longitudes[point]}, {self.points.latitudes[point]})"
        of = f" of {self.source.images[image]}" if self.source.images else ""
        return (
            f"on_masked='fail': the patch{of} around the point of row {point + 1} {place} has {fraction:.2%} of its pixels valid; "
            "leave the point out, or use on_masked='skip' or 'keep'"
        )


def patch_layout(
    points: Points, rule: PatchRule, source: PatchSource, presets: Mapping[str, Any] | None = None
) -> ShardLayout:
    """What patches of a source around points have.

    Parameters
    ----------
    presets
        Band to what has a ``scale``, an ``offset`` and a ``unit``; bands without are taken as they are.
    """
    bands = []
    for band in source.bands:
        known = (presets or {}).get(band.id)
        numbers = {"scale": known.scale, "offset": known.offset, "unit": known.unit} if known else {}
        bands.append(BandLayout(name=band.id, dtype=band.dtype, **numbers))
    kinds: dict[str, Literal["int64", "float64", "string"]] = {
        "int64": "int64",
        "double": "float64",
        "string": "string",
    }
    return ShardLayout(
        width=rule.width,
        height=rule.height,
        bands=tuple(bands),
        masked=source.masked,
        labels=tuple(
            Fact(name, kinds[str(column.type)], description="label") for name, column in points.labels.items()
        ),
        imaged=bool(source.images),
    )


@dataclass(frozen=True, slots=True)
class _Encoded:
    """One patch, or that it is left out."""

    valid_fraction: float
    kept: bool
    content: Any = None
    refusal: str = ""
    """Why the dataset cannot be made of it."""


@dataclass(slots=True)
class _Shard:
    """A shard that is being written, and counts of what it holds."""

    number: int
    points: range
    writer: ShardWriter
    patches: int = 0
    fully_masked: int = 0
    partly_masked: int = 0
    left_out: int = 0

    def add(self, patch: _Encoded) -> None:
        if patch.refusal:
            raise ValueError(patch.refusal)
        self.patches += patch.kept
        self.left_out += not patch.kept
        self.fully_masked += patch.valid_fraction == 0
        self.partly_masked += 0 < patch.valid_fraction < 1
        if patch.kept:
            self.writer.write(patch.content)

    def record(self, file: str, size_bytes: int, crc32c: str, simulated: bool) -> ShardRecord:
        return ShardRecord(
            file=file,
            first_point=self.points.start,
            points=len(self.points),
            patches=self.patches,
            fully_masked=self.fully_masked,
            partly_masked=self.partly_masked,
            left_out=self.left_out,
            bytes=size_bytes,
            crc32c=crc32c,
            simulated=simulated,
        )


class _Maker:
    """Writes patches as they come, in order, to one shard after the other."""

    def __init__(self, dataset: PatchDataset, client: EarthEngineClient, manifest: Manifest, directory: Path) -> None:
        self._dataset = dataset
        self._client = client
        self._manifest = manifest
        self._directory = directory
        self._shard: _Shard | None = None

    def take(self, request: PatchRequest, patches: Sequence[_Encoded]) -> None:
        if self._shard is None:
            self._shard = self._begin(request.shard)
        for patch in patches:
            self._shard.add(patch)
        if request.last:
            self._finish(self._shard)
            self._shard = None

    def close(self) -> None:
        if self._shard is not None:
            self._shard.writer.close()

    def _begin(self, number: int) -> _Shard:
        writer = self._dataset.form.open(self._directory / self._dataset.names[number])
        return _Shard(number, self._dataset.plan.points(number), writer)

    def _finish(self, shard: _Shard) -> None:
        name, folder = self._dataset.names[shard.number], self._dataset.folder
        shard.writer.finish()
        shard.writer.close()
        size_bytes, crc = publish_shard(self._directory / name, folder / name)
        self._manifest.add(shard.record(name, size_bytes, crc, self._client.simulated))
        # A shard that was uploaded, or copied file by file, is still there.
        for left in self._directory.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        log.info("Shard %d of %d: %d patches", shard.number + 1, len(self._dataset.names), shard.patches)


def _described(band: BandLayout) -> dict[str, Any]:
    numbers = {"scale": band.scale, "offset": band.offset, "unit": band.unit}
    return {"name": band.name, "dtype": band.dtype.name, **numbers}


def _valid_fraction(masks: tuple[Any, ...]) -> float:
    """Share of pixels that are valid in every band; 1 where no masks were asked for."""
    if all(mask.all() for mask in masks):
        return 1.0
    return float(np.logical_and.reduce(masks).mean())
