"""What a run of a series did, and what one would do."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["GroupResult", "SeriesEstimate"]


@dataclass(frozen=True, slots=True)
class GroupResult:
    """What became of one image or group of images."""

    raster: str | None
    """URL of its raster."""
    rows: int = 0
    """Rows written; 0 when it was there already."""
    bytes: int = 0
    """Size of the raster that was written."""
    unchanged: bool = False
    """Whether it was there already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesEstimate:
    """What a run would do."""

    groups: int
    """Images or groups of images that rows are made of."""
    unchanged: int
    """Of these, what is there already and would not be fetched."""
    images: int
    """Images that would be fetched."""
    pixels: int
    requests: int
    bytes: int
    """Of pixels, uncompressed, as the service counts them."""
    seconds: float
    """At the quota's rate and concurrency, a second for each request; computing on the service's side may last longer."""
