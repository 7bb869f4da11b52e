"""Connections to the service's hosts, kept open, with the proxies and certificates that the environment names.

``requests`` knows what the environment says; its own way to a body is not taken, because it reads in pieces of 10 KiB and allocates
anew for each, which costs several times as much on tiles of megabytes. The pools below are those that ``requests`` makes.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from airflow_ee.core.settings import is_loopback

__all__ = ["Connections"]


class Connections:
    """Pools of connections, one for each host, shared by all threads.

    Parameters
    ----------
    most
        Connections to a host that are kept open; more are made when needed, and closed after use.
    """

    def __init__(self, most: int) -> None:
        self._adapter = HTTPAdapter(pool_connections=4, pool_maxsize=most, max_retries=0)
        self._session = requests.Session()
        self._pools: dict[str, Any] = {}
        self._lock = threading.Lock()

    def open(
        self,
        method: str,
        endpoint: str,
        target: str,
        *,
        body: bytes | None,
        headers: Mapping[str, str],
        timeout: urllib3.Timeout,
    ) -> urllib3.BaseHTTPResponse:
        """Send a request and return the answer when its headers have come; nothing is repeated and no redirect followed.

        Parameters
        ----------
        target
            Path and query, quoted.

        Raises
        ------
        urllib3.exceptions.HTTPError, OSError
            When no answer came.
        """
        answer: urllib3.BaseHTTPResponse = self._pool(endpoint).urlopen(
            method,
            target,
            body=body,
            headers=headers,
            timeout=timeout,
            retries=False,
            # A redirect could carry a token to another host.
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        return answer

    def close(self) -> None:
        """Close all connections."""
        self._adapter.close()
        self._session.close()

    def _pool(self, endpoint: str) -> Any:
        with self._lock:
            if endpoint not in self._pools:
                self._pools[endpoint] = self._make_pool(endpoint)
            return self._pools[endpoint]

    def _make_pool(self, endpoint: str) -> Any:
        request = requests.Request("GET", endpoint).prepare()
        environment: Any = self._session.merge_environment_settings(
            str(request.url), _proxies(endpoint), stream=True, verify=None, cert=None
        )
        return self._adapter.get_connection_with_tls_context(
            request, environment["verify"], proxies=environment["proxies"], cert=environment["cert"]
        )


def _proxies(endpoint: str) -> dict[str, str]:
    """Empty: as the environment says. No proxy leads to this machine, though few environments say so.

    The session's ``trust_env`` would turn proxies off too, and with them the certificates that the environment trusts.
    """
    host = urlsplit(endpoint).hostname or ""
    return {"no_proxy": host} if is_loopback(host) else {}
