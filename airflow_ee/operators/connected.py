"""What operators and sensors share: the hook of their connection, and a client with their arguments."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.hooks.earth_engine import EarthEngineHook

__all__ = ["EarthEngineConnected"]


class EarthEngineConnected:
    """A task with the arguments of a connection."""

    project_id: str | None
    gcp_conn_id: str
    impersonation_chain: str | Sequence[str] | None
    request_timeout_seconds: float | None
    request_retries: int | None

    @cached_property
    def hook(self) -> EarthEngineHook:
        """The hook of this task's connection."""
        # Here and not above: Google's hooks add over a second to every parse of a DAG file.
        from airflow_ee.hooks.earth_engine import EarthEngineHook

        return EarthEngineHook(gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain)

    @property
    def client(self) -> EarthEngineClient:
        """A client with this task's project, timeout and retries."""
        return self.hook.get_client(
            project_id=self.project_id,
            request_timeout_seconds=self.request_timeout_seconds,
            request_retries=self.request_retries,
        )
