"""A job as a value: what to fetch and where to put it, as JSON that any Python with this package's core can run.

A job is cut into units that workers do in any order: tiles of a raster, shards of a dataset of patches, images of a series. A unit that is done is stored and
recorded beside the output, so engines carry nothing but numbers of units; a unit that is done twice leaves the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Protocol, Self

import fsspec

from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.client_reference import ClientReference
from airflow_ee.core.errors import IncompleteJob, OtherTypes
from airflow_ee.core.estimate import Estimate
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.image_file import ImageFile
from airflow_ee.core.job_values import (
    file_from_json,
    file_to_json,
    layout_from_json,
    layout_to_json,
    moment_from_json,
    moment_to_json,
    patch_source_from_json,
    patch_source_to_json,
    points_from_json,
    points_to_json,
    rule_from_json,
    rule_to_json,
    source_from_json,
    source_to_json,
)
from airflow_ee.core.patch_grids import place_patches
from airflow_ee.core.patch_plan import PatchPlan
from airflow_ee.core.patches import PatchDataset, patch_layout
from airflow_ee.core.pixels import PixelSource
from airflow_ee.core.progress import Progress
from airflow_ee.core.raster import RasterJob, RasterResult
from airflow_ee.core.series_work import SeriesWork
from airflow_ee.core.settings import Limits
from airflow_ee.core.sinks.base import Location
from airflow_ee.core.sinks.shard_arrays import shard_format
from airflow_ee.core.wire import grid_from_rest, grid_to_rest

__all__ = ["JobWork", "PatchWork", "PixelJob", "RasterWork", "place"]

VERSION = 1


class JobWork(Protocol):
    """What a job is made of, bound to the place of its output."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        ...

    def units(self, client: EarthEngineClient) -> int:
        """How many units there are."""
        ...

    def name(self, client: EarthEngineClient, unit: int) -> str:
        """What a unit is called in messages."""
        ...

    def estimate(self, client: EarthEngineClient) -> Estimate:
        """What is asked for when nothing is there yet."""
        ...

    def begin(self, client: EarthEngineClient) -> list[int]:
        """Make ready for workers, and tell which units are missing."""
        ...

    def left(self, client: EarthEngineClient, units: Sequence[int]) -> list[int]:
        """Those of some units that nobody has done; changes nothing."""
        ...

    def store(self, client: EarthEngineClient, units: Sequence[int], progress: Progress) -> None:
        """Do some units."""
        ...

    def finish(self, client: EarthEngineClient) -> dict[str, Any]:
        """Put the whole together; gives a summary as JSON values."""
        ...

    def retyped(self, error: OtherTypes, *, anew: bool) -> JobWork:
        """The same work with the types that the pixels really have."""
        ...


@dataclass(frozen=True, kw_only=True)
class RasterWork:
    """One image over one grid as one file; units are tiles."""

    target: Location
    source: PixelSource
    grid: PixelGrid
    file: ImageFile
    source_version: str = ""
    """When the source last changed, where it tells."""
    start: datetime | None = None
    end: datetime | None = None
    """The time that the pixels are from."""
    max_concurrency: int | None = None
    """Requests at once of a worker; None: its share of the quota."""

    @cached_property
    def job(self) -> RasterJob:
        """The work itself."""
        return self.file.job(
            self.source,
            self.grid,
            self.target,
            source_version=self.source_version,
            start=self.start,
            end=self.end,
            max_concurrency=self.max_concurrency,
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "source": source_to_json(self.source),
            "grid": grid_to_rest(self.grid),
            "file": file_to_json(self.file),
            "source_version": self.source_version,
            "start": moment_to_json(self.start),
            "end": moment_to_json(self.end),
            "max_concurrency": self.max_concurrency,
        }

    @classmethod
    def from_json(cls, target: Location, value: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` wrote."""
        known = {
            **value,
            "source": source_from_json(value["source"]),
            "grid": grid_from_rest(value["grid"]),
            "file": file_from_json(value["file"]),
            "start": moment_from_json(value["start"]),
            "end": moment_from_json(value["end"]),
        }
        return cls(target=target, **known)

    def units(self, client: EarthEngineClient) -> int:
        """How many tiles there are; none where the service makes the file itself."""
        return 0 if self.file.is_served_whole(client, self.job) else len(self.job.tiles(client))

    def name(self, client: EarthEngineClient, unit: int) -> str:
        """The tile, as messages call it."""
        return str(self.job.tiles(client)[unit])

    def estimate(self, client: EarthEngineClient) -> Estimate:
        """What is asked for when nothing is there yet."""
        return self.file.estimate(client, self.job)

    def begin(self, client: EarthEngineClient) -> list[int]:
        """Make ready for workers, and tell which tiles are missing."""
        if self.file.is_served_whole(client, self.job):
            return []
        numbers = {(tile.row, tile.col): number for number, tile in enumerate(self.job.tiles(client))}
        return [numbers[tile.row, tile.col] for tile in self.job.begin(client)]

    def left(self, client: EarthEngineClient, units: Sequence[int]) -> list[int]:
        """Those of some tiles that nobody has stored; changes nothing."""
        tiles = self.job.tiles(client)
        numbers = {(tiles[unit].row, tiles[unit].col): unit for unit in units}
        return [numbers[tile.row, tile.col] for tile in self.job.left([tiles[unit] for unit in units])]

    def store(self, client: EarthEngineClient, units: Sequence[int], progress: Progress) -> None:
        """Fetch and store some tiles."""
        tiles = self.job.tiles(client)
        self.job.store(client, [tiles[unit] for unit in units], progress)

    def finish(self, client: EarthEngineClient) -> dict[str, Any]:
        """Make the file of its tiles, or have the service make it where it can; one that is whole already stays."""
        if self.file.is_served_whole(client, self.job):
            result = self.job.finished() or self.file.make(client, self.job)
        else:
            result = self._put_together(client)
        (output,) = result.outputs
        return {
            "uri": output.url,
            "bytes": output.bytes,
            "valid_fraction": result.valid_fraction,
            "manifest_uri": self.job.manifest_url,
            "simulated": result.simulated,
        }

    def _put_together(self, client: EarthEngineClient) -> RasterResult:
        try:
            return self.job.finish(client)
        except IncompleteJob:
            # Of an output that is whole no tiles are left.
            if (there := self.job.finished()) is None:
                raise
            return there

    def retyped(self, error: OtherTypes, *, anew: bool) -> RasterWork:
        """The same work with the types that the pixels really have."""
        return replace(self, source=self.job.retyped(error, anew=anew).source)


@dataclass(frozen=True, kw_only=True)
class PatchWork:
    """A dataset of patches; units are shards."""

    dataset: PatchDataset
    max_concurrency: int | None = None
    """Requests at once of a worker; None: its share of the quota."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        dataset = self.dataset
        return {
            "points": points_to_json(dataset.points),
            "rule": rule_to_json(dataset.grids.rule),
            "source": patch_source_to_json(dataset.source),
            "bands": layout_to_json(dataset.layout.bands),
            "points_per_shard": dataset.plan.shard_points,
            "file_format": dataset.form_name,
            "gzip": getattr(dataset.form, "gzip", True),
            "on_masked": dataset.on_masked,
            "min_valid_fraction": dataset.min_valid_fraction,
            "provenance": dict(dataset.provenance),
            "max_concurrency": self.max_concurrency,
        }

    @classmethod
    def from_json(cls, folder: Location, value: Mapping[str, Any], limits: Limits) -> Self:
        """Read what :meth:`to_json` wrote."""
        points, rule = points_from_json(value["points"]), rule_from_json(value["rule"])
        source = patch_source_from_json(value["source"])
        layout = replace(patch_layout(points, rule, source), bands=layout_from_json(value["bands"]))
        plan = PatchPlan(
            grids=place_patches(points, rule),
            source=source,
            limits=limits,
            points_per_shard=value["points_per_shard"],
        )
        dataset = PatchDataset(
            points=points,
            plan=plan,
            layout=layout,
            form=shard_format(value["file_format"], layout, gzip=value["gzip"]),
            form_name=value["file_format"],
            folder=folder,
            on_masked=value["on_masked"],
            min_valid_fraction=value["min_valid_fraction"],
            provenance=value["provenance"],
        )
        return cls(dataset=dataset, max_concurrency=value["max_concurrency"])

    def units(self, client: EarthEngineClient) -> int:  # noqa: ARG002
        """How many shards there are."""
        return self.dataset.plan.shard_count

    def name(self, client: EarthEngineClient, unit: int) -> str:  # noqa: ARG002
        """The shard's file."""
        return self.dataset.names[unit]

    def estimate(self, client: EarthEngineClient) -> Estimate:
        """What is asked for when nothing is there yet."""
        found = self.dataset.plan.estimate(client.settings.requests_per_second)
        return Estimate.of(
            images=self.dataset.source.count,
            pixels=found.pixels,
            requests=found.requests,
            size_bytes=found.bytes,
            max_concurrency=client.settings.at_most(self.max_concurrency),
            requests_per_second=client.settings.requests_per_second,
        )

    def begin(self, client: EarthEngineClient) -> list[int]:  # noqa: ARG002
        """Make ready for workers, and tell which shards are missing."""
        return self.dataset.begin()

    def left(self, client: EarthEngineClient, units: Sequence[int]) -> list[int]:  # noqa: ARG002
        """Those of some shards that nobody has made; changes nothing."""
        return self.dataset.left(units)

    def store(self, client: EarthEngineClient, units: Sequence[int], progress: Progress) -> None:
        """Make some shards."""
        self.dataset.store(client, units, progress, max_concurrency=self.max_concurrency)

    def finish(self, client: EarthEngineClient) -> dict[str, Any]:  # noqa: ARG002
        """Describe the dataset."""
        summary = self.dataset.finish()
        return {
            "uri": self.dataset.folder.url,
            "bytes": summary.total("bytes"),
            "shards": len(summary.shards),
            "patches": summary.total("patches"),
            "simulated": any(shard.simulated for shard in summary.shards),
        }

    def retyped(self, error: OtherTypes, *, anew: bool) -> PatchWork:  # noqa: ARG002
        """Patches are checked against the announced types, and made of no others."""
        raise error


@dataclass(frozen=True, kw_only=True)
class PixelJob:
    """A job that another process can run: a client by reference, a place by URL, and the work.

    Nothing in it is secret: workers find credentials where :class:`~airflow_ee.core.client_reference.CredentialReference` says.
    """

    client: ClientReference
    output_uri: str
    work: JobWork
    storage_options: Mapping[str, Any] = field(default_factory=dict)
    """Of the output's fsspec filesystem, as JSON values; no secrets."""

    @cached_property
    def text(self) -> str:
        """The job as JSON: the same job, the same text."""
        kind = next(name for name, work in _KINDS.items() if isinstance(self.work, work))
        value = {
            "version": VERSION,
            "kind": kind,
            "client": self.client.to_json(),
            "output_uri": self.output_uri,
            "storage_options": dict(self.storage_options),
            "work": self.work.to_json(),
        }
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def parse(cls, text: str | bytes, *, locate: Callable[[str, Mapping[str, Any]], Location] | None = None) -> Self:
        """Read what :attr:`text` says.

        Parameters
        ----------
        locate
            Makes the place of the output; None: :func:`place`.

        Raises
        ------
        ValueError
            When it is no job of this version; the message says what is wrong.
        """
        try:
            return cls._read(json.loads(text), locate or place)
        except KeyError as problem:
            raise ValueError(f"this is no job file: {problem} is missing") from problem
        except (TypeError, AttributeError, ValueError) as problem:
            raise ValueError(f"this is no job file: {problem}") from problem

    @classmethod
    def _read(cls, value: Mapping[str, Any], locate: Callable[[str, Mapping[str, Any]], Location]) -> Self:
        if value["version"] != VERSION:
            raise ValueError(f"version {value['version']!r}, this is version {VERSION}; write the job anew")
        client, options = ClientReference.from_json(value["client"]), value["storage_options"]
        target = locate(value["output_uri"], options)
        work: JobWork
        if value["kind"] == "raster":
            work = RasterWork.from_json(target, value["work"])
        elif value["kind"] == "patches":
            work = PatchWork.from_json(target, value["work"], client.settings.limits)
        elif value["kind"] == "series":
            work = SeriesWork.from_json(lambda uri: locate(uri, options), value["work"])
        else:
            raise ValueError(f"kind must be {', '.join(_KINDS)}, got {value['kind']!r}")
        return cls(client=client, output_uri=value["output_uri"], work=work, storage_options=options)

    def retyped(self, error: OtherTypes, *, anew: bool) -> Self:
        """The same job with the types that the pixels really have."""
        return replace(self, work=self.work.retyped(error, anew=anew))


_KINDS = {"raster": RasterWork, "patches": PatchWork, "series": SeriesWork}


def place(uri: str, storage_options: Mapping[str, Any]) -> Location:
    """The place behind a path or URL on a worker, without Airflow.

    >>> place("/data/ndvi.tif", {}).is_local
    True
    """
    filesystem, path = fsspec.core.url_to_fs(uri, **storage_options)  # type: ignore[no-untyped-call]
    return Location(filesystem, path, path if "://" not in uri or uri.startswith("file://") else uri)
