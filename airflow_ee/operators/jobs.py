"""Operators that write a job as a file, do a part of one, and put its output together: for engines, and for Airflow's own mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from airflow_ee.hooks.failures import fail_fast
from airflow_ee.operators.arguments import integer
from airflow_ee.operators.locations import connection_for, location
from airflow_ee.operators.patches import EarthEnginePatchesOperator
from airflow_ee.operators.pixel_base import EarthEnginePixelBaseOperator
from airflow_ee.operators.raster_base import EarthEngineRasterBaseOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.core.estimate import Estimate
    from airflow_ee.core.job import PixelJob

__all__ = [
    "EarthEngineCommitJobOperator",
    "EarthEngineRunJobPartOperator",
    "EarthEngineWriteJobOperator",
    "EarthEngineWritePatchesJobOperator",
]


class EarthEngineWriteJobOperator(EarthEngineRasterBaseOperator):
    """
    Write a job that makes a raster, for an engine on other machines or for mapped tasks; no pixel is fetched.

    Takes all arguments of :class:`~airflow_ee.operators.pixels.EarthEngineComputePixelsOperator`, or ``asset_id`` in place of
    ``expression``. What is wrong with them fails here, before anything is submitted. Returns the parts, for
    ``EarthEngineRunJobPartOperator.partial(...).expand_kwargs(write.output)``; the XCom ``job`` has ``job_uri``, ``output_uri``, ``units`` (tiles),
    ``missing`` and ``estimate``.

    :param job_uri: Job file to write: a local path or an object store's URL that the engine reads.
    :param parts: Balanced parts that the job is cut into, each for one mapped task; 1,024 is the most that Airflow maps by default.
    :param outside_airflow: The job goes to workers that are no tasks of Airflow: a connection that holds its key itself is refused here.
    :param asset_id: Stored image, or:
    :param expression: computed one.
    :param expression_kwargs: For a callable.
    """

    template_fields: Sequence[str] = (
        "asset_id",
        "expression",
        "expression_kwargs",
        "job_uri",
        "parts",
        *EarthEngineRasterBaseOperator.template_fields,
    )
    template_ext: Sequence[str] = (".json",)
    template_fields_renderers = {
        **EarthEngineRasterBaseOperator.template_fields_renderers,
        "expression": "json",
        "expression_kwargs": "json",
    }

    def __init__(
        self,
        *,
        job_uri: str,
        parts: int | str = 1,
        outside_airflow: bool = False,
        asset_id: str | None = None,
        expression: Any = None,
        expression_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_uri = job_uri
        self.parts = parts
        self.outside_airflow = outside_airflow
        self.asset_id = asset_id
        self.expression = expression
        self.expression_kwargs = expression_kwargs

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Write the job file."""
        with fail_fast():
            if (self.asset_id is None) == (self.expression is None):
                raise ValueError("give either asset_id or expression")
            _parts(self.parts)
            with self.pixel_client(high_volume=self.high_volume) as client:
                work = self.work(client, context)
                estimate = self.checked_estimate(client, work)
                job = self.make_job(client, work.target.url, work)
                return _write(self, client, job, estimate, context)


class EarthEngineWritePatchesJobOperator(EarthEnginePatchesOperator):
    """
    Write a job that makes training patches, for an engine on other machines or for mapped tasks; no pixel is fetched.

    Takes all of :class:`~airflow_ee.operators.patches.EarthEnginePatchesOperator`'s arguments; units are shards.

    :param job_uri: Job file to write: a local path or an object store's URL that the engine reads.
    :param parts: Balanced parts that the job is cut into, each for one mapped task.
    :param outside_airflow: The job goes to workers that are no tasks of Airflow: a connection that holds its key itself is refused here.
    """

    template_fields: Sequence[str] = ("job_uri", "parts", *EarthEnginePatchesOperator.template_fields)

    def __init__(self, *, job_uri: str, parts: int | str = 1, outside_airflow: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job_uri = job_uri
        self.parts = parts
        self.outside_airflow = outside_airflow

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Write the job file."""
        from airflow_ee.core.job import PatchWork

        with fail_fast(), self.pixel_client(high_volume=self.high_volume) as client:
            dataset = self.checked_dataset(client, context)
            work = PatchWork(dataset=dataset, max_concurrency=integer("max_concurrency", self.max_concurrency))
            job = self.make_job(client, dataset.folder.url, work)
            return _write(self, client, job, work.estimate(client), context)


class _JobOperator(EarthEnginePixelBaseOperator):
    """What operators have in common that read a job file."""

    template_fields: Sequence[str] = (*EarthEnginePixelBaseOperator.template_fields, "job_uri", "output_conn_id")

    def __init__(self, *, job_uri: str, output_conn_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job_uri = job_uri
        self.output_conn_id = output_conn_id

    def read_job(self) -> PixelJob:
        """The job, with its output where this deployment's connections reach it."""
        from airflow_ee.core.job import PixelJob

        file = self._location(self.job_uri)
        if not file.exists():
            raise ValueError(f"job_uri: there is no file {file.url}")
        return PixelJob.parse(file.read_bytes(), locate=lambda uri, _: self._location(uri))

    def job_client(self, job: PixelJob, *, processes: int = 1) -> AbstractContextManager[EarthEngineClient]:
        """
        A client with this deployment's connection and the job's limits, by which all who work at it cut it alike.

        :param job: Of the work.
        :param processes: So many share the connection's quota; this is one of them.
        """
        return self.pixel_client(processes=processes, limits=job.client.settings.limits)

    def _location(self, uri: str) -> Any:
        return location(uri, connection_for(uri, self.output_conn_id, self.gcp_conn_id))


class EarthEngineRunJobPartOperator(_JobOperator):
    """
    Do one part of a job: fetch its tiles or make its shards, those that nobody has done yet.

    ``EarthEngineRunJobPartOperator.partial(task_id="fetch").expand_kwargs(write.output["parts"])`` does a job on as many workers as Airflow
    has; a retry, or a part that runs twice, changes nothing.

    :param job_uri: Job file.
    :param part: Number of the part, from 0.
    :param parts: Parts in all.
    :param tasks_at_once: So many of them run at the same time, and share the connection's quota; None: all.
    :param output_conn_id: Airflow connection of the object store; for ``gs://`` it defaults to ``gcp_conn_id``.
    """

    template_fields: Sequence[str] = (*_JobOperator.template_fields, "part", "parts", "tasks_at_once")

    def __init__(
        self, *, part: int | str, parts: int | str, tasks_at_once: int | str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.part = part
        self.parts = parts
        self.tasks_at_once = tasks_at_once

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002
        """Do the part."""
        from airflow_ee.core.progress import Progress

        with fail_fast():
            parts = _parts(self.parts)
            part = integer("part", self.part) or 0
            if not 0 <= part < parts:
                raise ValueError(f"part must be in 0..{parts - 1}, got {part}")
            job = self.read_job()
            at_once = integer("tasks_at_once", self.tasks_at_once) or parts
            with self.job_client(job, processes=at_once) as client:
                total = job.work.units(client)
                own = range(part * total // parts, (part + 1) * total // parts)
                missing = job.work.left(client, own)
                progress = Progress()
                progress.was_there(len(own) - len(missing))
                job.work.store(client, missing, progress)
        summary = progress.summary()
        self.count(summary)
        self.log.info("Part %d of %d: %s", part + 1, parts, summary)
        return summary


class EarthEngineCommitJobOperator(_JobOperator):
    """
    Put the output of a job together, or look whether an engine has: fails when a tile or shard is missing.

    :param job_uri: Job file.
    :param output_conn_id: Airflow connection of the object store; for ``gs://`` it defaults to ``gcp_conn_id``.
    """

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002
        """Commit; tell where the output is."""
        with fail_fast():
            job = self.read_job()
            with self.job_client(job) as client:
                summary = job.work.finish(client)
        if summary["simulated"]:
            self.log.warning("These are simulated pixels: an emulator's, not a satellite's")
        self.log.info("%s", summary)
        return summary


def _write(
    operator: EarthEngineWriteJobOperator | EarthEngineWritePatchesJobOperator,
    client: EarthEngineClient,
    job: PixelJob,
    estimate: Estimate,
    context: Context,
) -> list[dict[str, Any]]:
    """Make the output's place ready, and write the file that tells workers of it."""
    if operator.outside_airflow:
        job.client.credentials.check_outside_airflow()
    total = job.work.units(client)
    parts = min(_parts(operator.parts), max(total, 1))
    file = location(operator.job_uri, connection_for(operator.job_uri, operator.output_conn_id, operator.gcp_conn_id))
    file.check_writable()
    missing = job.work.begin(client)
    file.write_bytes(job.text.encode())
    operator.log.info("%s: %d of %d units are to be done, in %d parts", file.url, len(missing), total, parts)
    told = {"job_uri": file.url, "output_uri": job.output_uri, "units": total, "missing": len(missing)}
    # An XCom of its own: Airflow maps over nothing but what a task returns.
    context["ti"].xcom_push(key="job", value={**told, "estimate": estimate.to_json()})
    return [{"job_uri": file.url, "part": part, "parts": parts} for part in range(parts)]


def _parts(value: int | str) -> int:
    parts = integer("parts", value)
    if parts is None or parts < 1:
        raise ValueError(f"parts must be at least 1, got {value}")
    return parts
