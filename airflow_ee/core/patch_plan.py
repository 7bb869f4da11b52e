"""Which requests a dataset of patches takes, in the order of its patches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.patch_fetch import PatchRequest, PatchSource
from airflow_ee.core.patch_grids import PatchGrids
from airflow_ee.core.settings import Limits

__all__ = ["PatchEstimate", "PatchPlan"]

SHARD_BYTES = 128 << 20
"""Of pixels, what shards are made for where no number of them is given: readers like 100 to 200 MB."""
SHARED_EXCESS = 1.25
"""Neighbours share a request if it has at most so many times the pixels of their own ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchEstimate:
    """What a dataset takes, before anything is asked for."""

    points: int
    patches: int
    pixels: int
    """Of all patches; bands are not counted."""
    requests: int
    bytes: int
    """Of all answers, as the service counts."""
    shards: int
    seconds_at_quota: float
    """Shortest time that the requests a second allow."""

    def __str__(self) -> str:
        return (
            f"{self.patches} patches of {self.points} points in {self.shards} shards take {self.requests} requests, "
            f"{self.pixels} pixels, {self.bytes} bytes, and {self.seconds_at_quota} s or more"
        )


@dataclass(frozen=True, kw_only=True)
class PatchPlan:
    """How patches are spread over shards, and packed into requests.

    Several images over one point become bands of one request, as many as the limits allow. Points that follow each other and lie close together on
    one lattice share a request, if that has little more pixels than their own ones.
    """

    grids: PatchGrids
    source: PatchSource
    limits: Limits
    shards: int | None = None
    """How many there shall be, all but the last with equally many points; or:"""
    points_per_shard: int | None = None
    """how many points each of them shall have; with neither, shards have about ``SHARD_BYTES``."""

    def __post_init__(self) -> None:
        for name in ("shards", "points_per_shard"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.shards is not None and self.points_per_shard is not None:
            raise ValueError("shards and points_per_shard exclude each other")
        rule, bands, limits = self.grids.rule, self.source.request_bands, self.limits
        masks = ", mask bands included" if self.source.masked else ""
        if bands > limits.max_bands:
            raise ValueError(
                f"bands: {bands} bands{masks}, a request may have {limits.max_bands}; ask for fewer at once"
            )
        if max(rule.width, rule.height) > limits.max_side or self._patch_bytes > limits.max_request_bytes:
            raise ValueError(
                f"patch_size: {rule.width}x{rule.height} pixels of {bands} bands{masks} are {self._patch_bytes} bytes, a request may "
                f"have {limits.max_request_bytes} and {limits.max_side} pixels a side; choose smaller patches or fewer bands"
            )

    @cached_property
    def shard_points(self) -> int:
        """Points of every shard but the last."""
        if self.points_per_shard is not None:
            return self.points_per_shard
        if self.shards is not None:
            return math.ceil(len(self.grids) / self.shards)
        pixel_bytes = sum(band.dtype.itemsize + self.source.masked for band in self.source.bands)
        return max(1, SHARD_BYTES // (self._patch_pixels * pixel_bytes * self.source.count))

    @property
    def shard_count(self) -> int:
        """Shards in all; never one without points."""
        return math.ceil(len(self.grids) / self.shard_points)

    def points(self, shard: int) -> range:
        """Indices of a shard's points."""
        first = shard * self.shard_points
        return range(first, min(first + self.shard_points, len(self.grids)))

    def requests(self, shards: Sequence[int]) -> Iterator[PatchRequest]:
        """What is asked for, in the order of the patches."""
        packs = self._packs()
        for shard in shards:
            points = self.points(shard)
            # With several requests for a point, the patches of neighbours would come between them.
            groups = list(self._groups(points)) if len(packs) == 1 else [(point,) for point in points]
            for group in groups:
                for images in packs:
                    last = group is groups[-1] and images is packs[-1]
                    yield self._request(group, images, shard=shard, last=last)

    def estimate(self, requests_per_second: float) -> PatchEstimate:
        """What the whole dataset takes."""
        requests = size_bytes = 0
        for request in self.requests(range(self.shard_count)):
            requests += 1
            size_bytes += request.grid.pixels * len(request.images) * self.source.bytes_per_pixel
        patches = len(self.grids) * self.source.count
        return PatchEstimate(
            points=len(self.grids),
            patches=patches,
            pixels=patches * self._patch_pixels,
            requests=requests,
            bytes=size_bytes,
            shards=self.shard_count,
            seconds_at_quota=round(requests / requests_per_second, 1),
        )

    @property
    def _patch_pixels(self) -> int:
        return self.grids.rule.width * self.grids.rule.height

    @property
    def _patch_bytes(self) -> int:
        return self._patch_pixels * self.source.bytes_per_pixel

    def _packs(self) -> list[range]:
        """The images in stretches that one request each can carry."""
        many = min(self.limits.max_bands // self.source.request_bands, self.limits.target_bytes // self._patch_bytes)
        size = max(1, many) if self.source.packable else 1
        return [range(first, min(first + size, self.source.count)) for first in range(0, self.source.count, size)]

    def _groups(self, points: range) -> Iterator[tuple[int, ...]]:
        """Points that follow each other and whose patches share most of one request."""
        group: list[int] = []
        box = (math.inf, math.inf, -math.inf, -math.inf)
        for point in points:
            joined = self._joined(box, point)
            if group and self._may_share(group, point, joined):
                group.append(point)
                box = joined
                continue
            if group:
                yield tuple(group)
            group, box = [point], self._joined((math.inf, math.inf, -math.inf, -math.inf), point)
        yield tuple(group)

    def _joined(self, box: tuple[float, float, float, float], point: int) -> tuple[float, float, float, float]:
        """A rectangle on the lattice (left, top, right, bottom), grown to hold a point's patch."""
        left, top = float(self.grids.columns[point]), float(self.grids.rows[point])
        right, bottom = left + self.grids.rule.width, top + self.grids.rule.height
        return min(box[0], left), min(box[1], top), max(box[2], right), max(box[3], bottom)

    def _may_share(self, group: list[int], point: int, box: tuple[float, float, float, float]) -> bool:
        if not self.grids.rule.snap or self.grids.code[point] != self.grids.code[group[0]]:
            return False
        width, height = box[2] - box[0], box[3] - box[1]
        most = SHARED_EXCESS * (len(group) + 1) * self._patch_pixels
        size_bytes = width * height * self.source.bytes_per_pixel * self.source.count
        return (
            width * height <= most
            and size_bytes <= self.limits.target_bytes
            and max(width, height) <= self.limits.max_side
        )

    def _request(self, points: tuple[int, ...], images: range, *, shard: int, last: bool) -> PatchRequest:
        alone = self.grids.grid(points[0]), ((0, 0),)
        grid, corners = alone if len(points) == 1 else self._shared(points)
        return PatchRequest(grid=grid, images=images, shard=shard, last=last, points=points, corners=corners)

    def _shared(self, points: tuple[int, ...]) -> tuple[PixelGrid, tuple[tuple[int, int], ...]]:
        """The rectangle that holds the patches of all points, and where in it each of them begins."""
        columns, rows = self.grids.columns[list(points)], self.grids.rows[list(points)]
        left, top = float(columns.min()), float(rows.min())
        width = int(columns.max() - left) + self.grids.rule.width
        height = int(rows.max() - top) + self.grids.rule.height
        corners = tuple((int(row - top), int(column - left)) for row, column in zip(rows, columns, strict=True))
        return self.grids.window(points[0], left, top, width, height), corners
