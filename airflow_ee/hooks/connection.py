"""What an Airflow connection says about Earth Engine, read once and checked."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from airflow_ee.core.settings import (
    GOOGLE_UNIVERSE,
    HIGH_VOLUME_ENDPOINT,
    STANDARD_ENDPOINT,
    ClientSettings,
    RetryPolicy,
    check_endpoint,
)

__all__ = ["ConnectionOptions", "boolean", "host_url"]

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """The Earth Engine part of a connection's extra; connections of other types leave it at its defaults.

    >>> ConnectionOptions.parse({"endpoint": "http://127.0.0.1:8085", "max_concurrency": "8"}).max_concurrency
    8
    >>> ConnectionOptions.parse({"high_volume": "maybe"})
    Traceback (most recent call last):
    ValueError: the connection's extra high_volume must be true or false, got 'maybe'
    """

    endpoint: str = STANDARD_ENDPOINT
    high_volume_endpoint: str = HIGH_VOLUME_ENDPOINT
    high_volume: bool = True
    trusted_endpoint: bool = False
    universe_domain: str = GOOGLE_UNIVERSE
    api_version: str = "v1"
    max_concurrency: int = 40
    requests_per_second: float = 100.0
    request_timeout_seconds: float = 330.0
    request_namespace: str = ""
    """Part of every requestId, so that two Airflow deployments on one project do not share exports."""
    workload_tag_prefix: str = ""
    quota_project: str | None = None

    @classmethod
    def parse(cls, extra: Mapping[str, Any], *, host: str = "", universe_domain: str = "") -> Self:
        """Read a connection's extra; numbers and booleans may be text, as URIs and secret backends have it.

        Parameters
        ----------
        host
            The connection's host field as a URL: an endpoint, unless the extra names one.
        universe_domain
            Used when the extra names none.

        Raises
        ------
        ValueError
            When a field holds what it may not; the message names it.
        """
        universe = _text(extra, "universe_domain") or universe_domain or GOOGLE_UNIVERSE
        standard, high_volume = _endpoints(extra, host, universe)
        return cls(
            endpoint=standard,
            high_volume_endpoint=high_volume,
            high_volume=_boolean(extra, "high_volume", default=True),
            trusted_endpoint=_boolean(extra, "trusted_endpoint", default=False),
            universe_domain=universe,
            api_version=_text(extra, "api_version") or "v1",
            max_concurrency=int(_number(extra, "max_concurrency", default=40, whole=True)),
            requests_per_second=_number(extra, "requests_per_second", default=100.0),
            request_timeout_seconds=_number(extra, "request_timeout_seconds", default=330.0),
            request_namespace=_text(extra, "request_namespace"),
            workload_tag_prefix=_text(extra, "workload_tag_prefix"),
            quota_project=_text(extra, "quota_project_id") or None,
        )

    def settings(
        self,
        project: str,
        *,
        high_volume: bool | None = None,
        max_concurrency: int | None = None,
        request_timeout_seconds: float | None = None,
        request_retries: int | None = None,
    ) -> ClientSettings:
        """Settings of a client for ``project``; what is given here wins over the connection.

        But for ``max_concurrency``: the connection's is a share of a quota, which one task may only use less of.
        """
        retry = RetryPolicy() if request_retries is None else RetryPolicy(attempts=_retries(request_retries) + 1)
        return ClientSettings(
            project=project,
            endpoint=self.endpoint,
            high_volume_endpoint=self.high_volume_endpoint,
            high_volume=self.high_volume if high_volume is None else high_volume,
            trusted_endpoint=self.trusted_endpoint,
            universe_domain=self.universe_domain,
            api_version=self.api_version,
            max_concurrency=self.max_concurrency
            if max_concurrency is None
            else min(max_concurrency, self.max_concurrency),
            requests_per_second=self.requests_per_second,
            request_timeout_seconds=(
                self.request_timeout_seconds if request_timeout_seconds is None else request_timeout_seconds
            ),
            quota_project=self.quota_project,
            retry=retry,
        )


def boolean(value: Any, name: str) -> bool:
    """Read a boolean of a connection's extra.

    >>> boolean("False", "is_anonymous")
    False
    """
    text = str(value).strip().lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError(f"the connection's extra {name} must be true or false, got {value!r}")


def host_url(host: str | None, port: int | None) -> str:
    """The URL that a connection's host and port stand for; https where the host names no scheme.

    >>> host_url("http://127.0.0.1", 8085)
    'http://127.0.0.1:8085'
    >>> host_url(None, None)
    ''
    """
    cleaned = (host or "").strip().rstrip("/")
    if not cleaned:
        return ""
    url = cleaned if "://" in cleaned else f"https://{cleaned}"
    return f"{url}:{port}" if port and not re.search(r":\d+$", url) else url


def _endpoints(extra: Mapping[str, Any], host: str, universe: str) -> tuple[str, str]:
    """The standard and the high-volume host; one given alone serves both."""
    standard = (_text(extra, "endpoint") or host).rstrip("/")
    high_volume = _text(extra, "high_volume_endpoint").rstrip("/")
    for name, url in (("endpoint", standard), ("high_volume_endpoint", high_volume)):
        if url:
            check_endpoint(name, url)
    if standard or high_volume:
        return standard or high_volume, high_volume or standard
    return STANDARD_ENDPOINT.replace(GOOGLE_UNIVERSE, universe), HIGH_VOLUME_ENDPOINT.replace(GOOGLE_UNIVERSE, universe)


def _text(extra: Mapping[str, Any], name: str) -> str:
    value = extra.get(name)
    return "" if value is None else str(value).strip()


def _boolean(extra: Mapping[str, Any], name: str, *, default: bool) -> bool:
    return boolean(extra[name], name) if _text(extra, name) else default


def _number(extra: Mapping[str, Any], name: str, *, default: float, whole: bool = False) -> float:
    text = _text(extra, name)
    if not text:
        return default
    kind = "whole number" if whole else "number"
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"the connection's extra {name} must be a {kind}, got {text!r}") from None
    if not (math.isfinite(number) and number > 0) or (whole and number != int(number)):
        raise ValueError(f"the connection's extra {name} must be a {kind} above 0, got {text!r}")
    return number


def _retries(value: int) -> int:
    if value < 0:
        raise ValueError(f"request_retries must not be negative, got {value}")
    return value
