"""What a client may be told: hosts, limits, retries. Frozen values that check themselves."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

__all__ = [
    "GOOGLE_UNIVERSE",
    "HIGH_VOLUME_ENDPOINT",
    "STANDARD_ENDPOINT",
    "ClientSettings",
    "Limits",
    "RetryPolicy",
    "check_endpoint",
    "is_google_endpoint",
    "is_loopback",
]

STANDARD_ENDPOINT = "https://earthengine.googleapis.com"
HIGH_VOLUME_ENDPOINT = "https://earthengine-highvolume.googleapis.com"
GOOGLE_UNIVERSE = "googleapis.com"
API_VERSIONS = ("v1", "v1beta", "v1alpha")
_PROJECT = re.compile(r"(?:[a-z0-9.-]+\.[a-z]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]|[0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, and for how long, a call that failed for a passing reason is made again.

    Waits are drawn evenly from zero to ``initial_seconds * 2**n``, capped ("full jitter": many tasks that were refused
    together do not come back together). A ``Retry-After`` of the service is a lower bound.

    >>> RetryPolicy(attempts=0)
    Traceback (most recent call last):
    ValueError: attempts must be at least 1, got 0
    """

    attempts: int = 6
    """Calls in all, the first included; as many as the official client makes."""
    initial_seconds: float = 1.0
    """Upper bound of the first wait."""
    maximum_seconds: float = 60.0
    """Upper bound of any wait that the service did not ask for."""
    total_seconds: float = 600.0
    """No retry starts later than this after the first call, so that a token or a worker slot is not outlived."""

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts must be at least 1, got {self.attempts}")
        for name in ("initial_seconds", "maximum_seconds", "total_seconds"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The service's limits on one pixel request (REST reference; exact bytes from its error messages)."""

    max_request_bytes: int = 50_331_648
    """48 MiB of uncompressed pixels, one mask byte counted for each pixel and band."""
    max_side: int = 32_768
    """Pixels along either side of a grid."""
    max_bands: int = 1_024
    """Bands of one request."""
    max_body_bytes: int = 10_485_760
    """10 MiB of request body, which a large inlined geometry can exceed."""
    target_bytes: int = 16_777_216
    """What a tile is planned for: large enough that latency does not count, small enough to be retried cheaply."""
    floor_side: int = 64
    """Tiles that the service finds too hungry are split in four down to this side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """Where a client sends its calls and how it behaves there.

    >>> ClientSettings(project="demo-project", endpoint="http://example.com")
    Traceback (most recent call last):
    ValueError: endpoint must be https, or http on a loopback address, got 'http://example.com'
    """

    project: str
    """Cloud project that is billed: an id, a domain-scoped id (``example.com:my-project``) or a number."""
    endpoint: str = STANDARD_ENDPOINT
    """Host for operations, exports, assets and values."""
    high_volume_endpoint: str = HIGH_VOLUME_ENDPOINT
    """Host for pixel requests: more at once, less caching."""
    high_volume: bool = True
    """Whether pixel requests go to the high-volume host at all."""
    trusted_endpoint: bool = False
    """Whether credentials may go to an https host that is not Google's."""
    universe_domain: str = GOOGLE_UNIVERSE
    """Domain whose hosts are Google's, for sovereign clouds."""
    api_version: str = "v1"
    max_concurrency: int = 40
    """Pixel requests at once: the project's quota, or this connection's share of it."""
    requests_per_second: float = 100.0
    """Requests a second: the project's quota, or this connection's share of it."""
    request_timeout_seconds: float = 330.0
    """Wait for an answer; a little over the service's own five minutes."""
    connect_timeout_seconds: float = 20.0
    quota_project: str | None = None
    """Project named in ``X-Goog-User-Project``; the project itself when not given."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not _PROJECT.fullmatch(self.project):
            raise ValueError(
                f"project must be a project id, a domain-scoped id or a number, got {self.project!r}; "
                "set it in the Airflow connection's extra or as project_id"
            )
        for name in ("endpoint", "high_volume_endpoint"):
            check_endpoint(name, getattr(self, name))
        if self.api_version not in API_VERSIONS:
            raise ValueError(f"api_version must be one of {', '.join(API_VERSIONS)}, got {self.api_version!r}")
        for name in ("max_concurrency", "requests_per_second", "request_timeout_seconds", "connect_timeout_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")

    @property
    def pixel_endpoint(self) -> str:
        """Host that pixel requests go to."""
        return self.high_volume_endpoint if self.high_volume else self.endpoint

    def at_most(self, max_concurrency: int | None) -> int:
        """Requests at once for a task that wants so many, or as many as there may be: its share is bounded by this."""
        return min(max_concurrency or self.max_concurrency, self.max_concurrency)

    def shared(self, processes: int) -> ClientSettings:
        """The same settings for one of so many processes, each of which has an equal share of the quota.

        >>> ClientSettings(project="demo-project").shared(8).max_concurrency
        5
        """
        if processes < 1:
            raise ValueError(f"processes must be at least 1, got {processes}")
        return replace(
            self,
            max_concurrency=max(1, self.max_concurrency // processes),
            requests_per_second=self.requests_per_second / processes,
        )

    def may_send_credentials(self, endpoint: str) -> bool:
        """Whether a token may travel to ``endpoint``: Google's hosts and trusted ones, and never over plain http."""
        if urlsplit(endpoint).scheme != "https":
            return False
        return self.trusted_endpoint or is_google_endpoint(endpoint, self.universe_domain)


def check_endpoint(name: str, url: str) -> None:
    """Refuse an endpoint that is neither https nor on a loopback address; ``name`` is told in the error."""
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(f"{name} must be a plain URL without user, query or fragment")
    if parts.path.strip("/") in API_VERSIONS:
        raise ValueError(f"{name} is without a version, which api_version adds: leave out {parts.path}")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))):
        raise ValueError(f"{name} must be https, or http on a loopback address, got {url!r}")


def is_loopback(host: str) -> bool:
    """Whether ``host`` can only be this machine.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost.example.com")
    (True, False)
    """
    return host in {"localhost", "::1"} or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None


def is_google_endpoint(url: str, universe_domain: str = GOOGLE_UNIVERSE) -> bool:
    """Whether the host belongs to Google: ``*.googleapis.com`` (Private Service Connect too) or the universe's domain.

    >>> is_google_endpoint("https://earthengine-abc.p.googleapis.com"), is_google_endpoint("https://googleapis.com.io")
    (True, False)
    """
    host = (urlsplit(url).hostname or "").lower()
    return any(host.endswith(f".{domain.lower()}") for domain in (GOOGLE_UNIVERSE, universe_domain) if domain)
