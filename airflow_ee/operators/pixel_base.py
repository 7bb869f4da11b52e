"""What operators that fetch pixels in the worker have in common: a client of their own, and an end when they are told to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_ee.core.errors import Stopped
from airflow_ee.operators.arguments import integer, number
from airflow_ee.operators.base import EarthEngineBaseOperator

if TYPE_CHECKING:
    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.core.job import JobWork, PixelJob
    from airflow_ee.core.job_run import JobReport
    from airflow_ee.core.settings import Limits
    from airflow_ee.operators.engines import Engine

__all__ = ["EarthEnginePixelBaseOperator"]

_OF_REQUESTS = ("requests", "retries", "splits", "bytes_fetched", "quota_wait_seconds")


class EarthEnginePixelBaseOperator(EarthEngineBaseOperator):
    """
    Base of operators that fetch pixels.

    :param max_concurrency: requests at once; None: the connection's
    """

    def __init__(self, *, max_concurrency: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_concurrency = max_concurrency
        self._client_at_work: EarthEngineClient | None = None

    @contextmanager
    def pixel_client(
        self, *, high_volume: bool | None = None, processes: int = 1, limits: Limits | None = None
    ) -> Iterator[EarthEngineClient]:
        """
        A client for the time of the work, which :meth:`on_kill` stops.

        :param high_volume: whether pixels come from the high-volume host; None: as the connection says
        :param processes: So many share the connection's quota; this is one of them.
        :param limits: What one request may ask for; None: what the service allows.
        """
        self._client_at_work = self.hook.get_client(
            project_id=self.project_id,
            high_volume=high_volume,
            max_concurrency=integer("max_concurrency", self.max_concurrency),
            request_timeout_seconds=number("request_timeout_seconds", self.request_timeout_seconds),
            request_retries=integer("request_retries", self.request_retries),
            processes=processes,
            limits=limits,
        )
        client = self._client_at_work
        try:
            yield client
        except BaseException:
            # Threads that nobody waits for any more must not write; the hook keeps its clients, so it goes too.
            client.stop()
            self.__dict__.pop("hook", None)
            raise
        finally:
            self._client_at_work = None

    def make_job(self, client: EarthEngineClient, output_uri: str, work: JobWork) -> PixelJob:
        """
        The work as a job that other machines can run, unless the connection holds the credentials themselves.

        :param client: Of the work.
        :param output_uri: Where the output goes, as workers name it.
        :param work: What is to be done.
        """
        from airflow_ee.core.job import PixelJob
        from airflow_ee.hooks.references import client_reference, storage_options

        reference = client_reference(self.hook, client)
        options = storage_options(output_uri, reference.credentials)
        return PixelJob(client=reference, output_uri=output_uri, work=work, storage_options=options)

    def run_job(self, engine: Engine, client: EarthEngineClient, output_uri: str, work: JobWork) -> JobReport:
        """
        Have an engine do the work.

        Raises ``ValueError`` before anything is submitted when its workers could find no credentials.

        :param engine: Does it.
        :param client: For what is asked for here.
        :param output_uri: Where the output goes, as workers name it.
        :param work: What is to be done.
        """
        job = self.make_job(client, output_uri, work)
        job.client.credentials.check_outside_airflow()
        return engine.run(job, client=client)

    def count(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """
        Add what a job has done to Airflow's metrics, below ``earth_engine.``; give the figures of its requests, for XCom.

        :param summary: The job's figures.
        """
        from airflow.providers.common.compat.sdk import Stats

        for name in ("requests", "retries", "splits", "bytes_fetched", "tiles", "tiles_resumed"):
            Stats.incr(f"earth_engine.{name}", int(summary.get(name, 0)))
        Stats.timing("earth_engine.quota_wait", timedelta(seconds=summary.get("quota_wait_seconds", 0.0)))
        return {name: summary[name] for name in _OF_REQUESTS if name in summary}

    def on_kill(self) -> None:
        """
        End the work now, and have it clean up after itself.

        Airflow calls this from its handler of SIGTERM, and then goes on with what the task was doing; so the work is
        ended from here, wherever it is. After a timeout the work has ended already.
        """
        client, self._client_at_work = self._client_at_work, None
        if client is not None:
            client.stop()
            raise Stopped("The task was told to stop: its worker goes, or a user ended it.")
