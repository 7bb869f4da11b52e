"""What all triggers share that look at operations: the connection, the poller, the deadline, patience with the service."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_ee.core.errors import EarthEngineError
from airflow_ee.triggers.poller import OperationPoller, Watch, shared_poller

if TYPE_CHECKING:
    from airflow_ee.core.resources import Operation
    from airflow_ee.hooks.earth_engine import EarthEngineAsyncHook

__all__ = ["WatchingTrigger"]

# The service may be out of reach for so long before waiting is given up; operations go on all the while.
TOLERATED_SECONDS = 900.0


class WatchingTrigger(BaseTrigger):
    """
    Looks at operations until they say enough, together with all triggers of its process, connection and project.

    :param project_id: Cloud project that is billed.
    :param gcp_conn_id: The Airflow connection.
    :param impersonation_chain: Service account to impersonate, or a chain of them.
    :param poll_interval: Seconds between two looks; while nothing changes these become up to four times as many.
    :param deadline: Moment, in seconds of the epoch, at which waiting is given up; None: never.
    """

    def __init__(
        self,
        *,
        project_id: str | None = None,
        gcp_conn_id: str = "earth_engine_default",
        impersonation_chain: str | Sequence[str] | None = None,
        poll_interval: float = 30.0,
        deadline: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.project_id = project_id
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.poll_interval = poll_interval
        self.deadline = deadline
        self._hook: EarthEngineAsyncHook | None = None
        self._failing_since: float | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what another triggerer needs to go on."""
        chain = self.impersonation_chain
        common = {
            "project_id": self.project_id,
            "gcp_conn_id": self.gcp_conn_id,
            "impersonation_chain": chain if chain is None or isinstance(chain, str) else list(chain),
            "poll_interval": self.poll_interval,
            "deadline": self.deadline,
        }
        return f"{type(self).__module__}.{type(self).__qualname__}", {**self.own_arguments(), **common}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is something to tell, the deadline has passed, or nothing can be learnt."""
        with self.watch() as watch:
            # The first look counts whatever the deadline: what has ended has ended.
            remaining: float | None = None
            while True:
                try:
                    found = await watch.next(remaining)
                    event = None if found is None else self._take(watch, found)
                except EarthEngineError as error:
                    event = self.event("error", str(error)) if self._gives_up_after(error) else None
                if event is not None:
                    yield event
                    return
                if self.deadline is not None:
                    remaining = self.deadline - time.time()
                    if remaining <= 0:
                        yield self.event("timeout", "the deadline has passed")
                        return

    @abstractmethod
    def own_arguments(self) -> dict[str, Any]:
        """Return the arguments that only this trigger has, as JSON values."""

    @abstractmethod
    def watch(self) -> Watch:
        """Return what is looked at, by :attr:`poller`."""

    @abstractmethod
    def judge(self, watch: Watch, found: Mapping[str, Operation]) -> TriggerEvent | None:
        """
        Return the event that ends the wait, if one does.

        :param watch: What is looked at.
        :param found: Operations that the look has found, by name.
        """

    def event(self, status: str, message: str = "") -> TriggerEvent:
        """
        Return an event.

        :param status: What has become of the wait.
        :param message: Words about it.
        """
        return TriggerEvent({**self.told(), "status": status, "message": message})  # type: ignore[no-untyped-call]

    def told(self) -> dict[str, Any]:
        """Return what each event tells besides status and message."""
        return {}

    @property
    def poller(self) -> OperationPoller:
        """The poller of this connection and project."""
        chain = self.impersonation_chain
        key = (self.project_id, self.gcp_conn_id, chain if chain is None or isinstance(chain, str) else tuple(chain))
        return shared_poller(key, self._make_hook)

    async def get_hook(self) -> EarthEngineAsyncHook:
        """Return a hook of this trigger's own."""
        if self._hook is None:
            self._hook = await asyncio.to_thread(self._make_hook)
        return self._hook

    def _take(self, watch: Watch, found: Mapping[str, Operation]) -> TriggerEvent | None:
        self._failing_since = None
        return self.judge(watch, found)

    def _make_hook(self) -> EarthEngineAsyncHook:
        # Imported in a thread: Google's hooks take seconds to import, and the loop serves all triggers of the process.
        from airflow_ee.hooks.earth_engine import EarthEngineAsyncHook

        return EarthEngineAsyncHook(
            project_id=self.project_id, gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain
        )

    def _gives_up_after(self, error: EarthEngineError) -> bool:
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        self.log.warning("Could not look at operations: %s", error)
        return not error.retryable or now - self._failing_since > TOLERATED_SECONDS
