"""What a job will ask for, before it asks: tiles, requests, bytes, and how long that takes at the quota."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Budget", "Estimate", "seconds_at_quota"]

SECONDS_A_REQUEST = 1.0
"""Taken for an answer's time where nothing better is known; computed images may take minutes."""
BYTES_PER_SECOND = 100e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a job will ask for at least: what the service finds too large is asked for again in pieces.

    >>> print(Estimate(images=1, pixels=100_000_000, tiles=121, requests=121, bytes=1_700_000_000, seconds=4.0))
    1 image, 100,000,000 pixels: 121 tiles, 121 requests, 1,700.0 MB, at least 4 s at the quota
    """

    images: int
    pixels: int
    """Of all images."""
    tiles: int
    requests: int
    bytes: int
    """Of pixels and masks as they travel."""
    seconds: float
    """At the quota of requests at once and a second, with an answer a second and 100 MB/s: a lower bound for what is computed."""

    @classmethod
    def of(
        cls,
        *,
        images: int,
        pixels: int,
        requests: int,
        size_bytes: int,
        max_concurrency: int,
        requests_per_second: float,
    ) -> Estimate:
        """The estimate of so many requests at a quota."""
        by_quota = seconds_at_quota(requests, max_concurrency, requests_per_second)
        seconds = max(by_quota, SECONDS_A_REQUEST if requests else 0.0, size_bytes / BYTES_PER_SECOND)
        return cls(
            images=images, pixels=pixels, tiles=requests, requests=requests, bytes=size_bytes, seconds=round(seconds, 1)
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        images = "1 image" if self.images == 1 else f"{self.images:,} images"
        return (
            f"{images}, {self.pixels:,} pixels: {self.tiles:,} tiles, {self.requests:,} requests, {self.bytes / 1e6:,.1f} MB, "
            f"at least {self.seconds:,.0f} s at the quota"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a job may ask for at most; None: no limit.

    >>> Budget(max_requests=100).check(
    ...     Estimate(images=1, pixels=9, tiles=121, requests=121, bytes=1_700_000_000, seconds=4.0)
    ... )
    Traceback (most recent call last):
    ValueError: max_requests: the job needs 121 requests, more than 100 (1 image, 9 pixels: 121 tiles, 121 requests, 1,700.0 MB, at least 4 s at the quota); choose a larger scale or a smaller region, or raise max_requests
    """

    max_pixels: int | None = None
    max_bytes: int | None = None
    max_requests: int | None = None

    def check(self, estimate: Estimate) -> None:
        """Refuse a job that would need more.

        Raises
        ------
        ValueError
            The message names the limit and holds the estimate.
        """
        for unit in ("pixels", "bytes", "requests"):
            limit, needed = getattr(self, f"max_{unit}"), getattr(estimate, unit)
            if limit is not None and needed > limit:
                raise ValueError(
                    f"max_{unit}: the job needs {needed} {unit}, more than {limit} ({estimate}); choose a larger scale or a smaller "
                    f"region, or raise max_{unit}"
                )


def seconds_at_quota(requests: int, max_concurrency: int, requests_per_second: float) -> float:
    """The least time for so many requests, if each is answered within a second.

    >>> seconds_at_quota(400, max_concurrency=40, requests_per_second=100)
    10.0
    """
    return requests * max(SECONDS_A_REQUEST / max_concurrency, 1.0 / requests_per_second)
