"""Waits for a collection to have the images of an interval."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, cast

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_ee.core.errors import ConnectionFailed
from airflow_ee.hooks.failures import fail_fast
from airflow_ee.operators.arguments import integer, number, text_or_none
from airflow_ee.operators.connected import EarthEngineConnected
from airflow_ee.operators.dates import resolve_interval
from airflow_ee.operators.locations import connection_for, read_region
from airflow_ee.triggers.imagery import EarthEngineImageryWaitTrigger
from airflow_ee.triggers.operation import DEFERRAL_SLACK

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_ee.core.image_query import ImageQuery

__all__ = ["EarthEngineImagerySensor"]


class EarthEngineImagerySensor(EarthEngineConnected, BaseSensorOperator):
    """
    Wait until a collection has enough images of an interval, or they cover enough of a region.

    The interval is half open and is compared with an image's beginning. It comes from the arguments, else from the DAG
    run's params ``start`` and ``end``, else from a data interval that is not empty, else the task fails.

    Returns ``{"source", "start", "end", "image_count", "image_ids"`` (the newest 20)``, "first_image_time", "last_image_time",
    "coverage"`` (None without a region)``, "update_time"`` (of the image that was changed last)``, "simulated"}``.

    Coverage is the share of the region's area on the ground that lies within the footprint of any of the images. It says that
    a satellite looked there, and nothing of clouds, nor of pixels that are masked inside a footprint.

    ``timeout`` is Airflow's: of the whole wait, from the first look on.

    :param collection: Asset id, or the name of a preset such as ``MOD13Q1``.
    :param start: First day or moment (UTC).
    :param end: Day or moment after the last (UTC).
    :param region: Box, GeoJSON, text of either, or a ``.geojson`` file; None: the world.
    :param filters: Conditions on properties of images, such as ``CLOUDY_PIXEL_PERCENTAGE<40``; all have to hold.
    :param min_images: How many images have to be there.
    :param min_coverage: Which share of the region's area they have to cover, up to 1; None: any.
    :param latency: How late after the interval's end its imagery is expected. The first look is at once, so that a backfill does not
        wait for what is there; the next one is when imagery is due, and then every ``poke_interval``. Where no ``timeout`` is
        given, Airflow's default is longer by the latency.
    :param timeout: Longest wait in all; else ``[sensors] default_timeout``.
    :param deferrable: Whether the triggerer waits, so that no worker slot is held.
    :param project_id: Cloud project that is billed; else the connection's, else the credentials'.
    :param gcp_conn_id: The Airflow connection, of type ``earth_engine`` or ``google_cloud_platform``.
    :param impersonation_chain: Service account to impersonate, or a chain of them.
    :param request_timeout_seconds: Longest wait for one answer; else the connection's.
    :param request_retries: How often a request that failed for a passing reason is made again.
    """

    template_fields: Sequence[str] = (
        "collection",
        "start",
        "end",
        "region",
        "filters",
        "min_images",
        "min_coverage",
        "project_id",
        "gcp_conn_id",
        "impersonation_chain",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"region": "json"}
    ui_color = "#cfe3f5"

    def __init__(
        self,
        *,
        collection: str,
        start: str | date | datetime | None = None,
        end: str | date | datetime | None = None,
        region: Sequence[float] | Mapping[str, Any] | str | None = None,
        filters: str | Sequence[str] | None = None,
        min_images: int | str = 1,
        min_coverage: float | str | None = None,
        latency: timedelta | None = None,
        timeout: timedelta | float | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        project_id: str | None = None,
        gcp_conn_id: str = "earth_engine_default",
        impersonation_chain: str | Sequence[str] | None = None,
        request_timeout_seconds: float | None = None,
        request_retries: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(timeout=_timeout(timeout, latency), **kwargs)
        self.collection = collection
        self.start = start
        self.end = end
        self.region = region
        self.filters = filters
        self.min_images = min_images
        self.min_coverage = min_coverage
        self.latency = latency
        self.deferrable = deferrable
        self.project_id = project_id
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.request_timeout_seconds = request_timeout_seconds
        self.request_retries = request_retries

    def execute(self, context: Context) -> Any:
        """
        Wait in the worker, between visits to it, or in the triggerer.

        :param context: Airflow's context.
        """
        if not self.deferrable:
            return super().execute(context)
        try:
            first_look = self.poke(context)
        except AirflowFailException as failure:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(str(failure)) from failure
            raise
        if first_look:
            return first_look.xcom_value
        self._defer()
        return None

    def poke(self, context: Context) -> PokeReturnValue:
        """
        Look at the collection once.

        :param context: Airflow's context.
        """
        from airflow_ee.core.imagery import Imagery

        with fail_fast():
            query = self._query = self._make_query(context)
            found = Imagery.find(self.client, query)
        covered = "" if found.coverage is None else f" that cover {found.coverage:.1%} of the region"
        self.log.info("%s has %d image(s) of %s%s", query.collection, len(found.images), query.told_interval, covered)
        if not found.suffices(min_images=self._demand[0], min_coverage=self._demand[1]):
            return PokeReturnValue(is_done=False)
        if found.simulated:
            self.log.warning("This imagery is simulated: it is an emulator's, not a satellite's")
        result = {
            "source": query.collection,
            "start": query.start.isoformat(),
            "end": query.end.isoformat(),
            **found.summary(),
        }
        return PokeReturnValue(is_done=True, xcom_value=result)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """
        Go on when the trigger has fired.

        :param context: Airflow's context.
        :param event: The trigger's event.
        """
        result = self.poke(context)
        if result:
            return cast("dict[str, Any]", result.xcom_value)
        if event["status"] == "error":
            raise ConnectionFailed(f"{self.collection} could not be watched any longer: {event['message']}")
        raise AirflowSensorTimeout(
            f"{self.collection} had not enough imagery of {self._query.told_interval} within {self.timeout:g} s"
        )

    @cached_property
    def _demand(self) -> tuple[int, float | None]:
        """How many images, and which coverage."""
        return integer("min_images", self.min_images) or 0, number("min_coverage", self.min_coverage)

    def _make_query(self, context: Context) -> ImageQuery:
        from airflow_ee.core.filters import parse_filters
        from airflow_ee.core.image_query import ImageQuery
        from airflow_ee.core.imagery import check_demand
        from airflow_ee.core.presets import find_preset

        start, end = resolve_interval(context, start=self.start, end=self.end)
        region = read_region(self.region, connection_for(self.region, None, self.gcp_conn_id))
        check_demand(min_images=self._demand[0], min_coverage=self._demand[1], region=region)
        filters = text_or_none(self.filters) or ()
        preset = find_preset(self.collection)
        return ImageQuery(
            collection=preset.collection if preset else self.collection,
            start=start,
            end=end,
            region=region,
            filters=parse_filters([filters] if isinstance(filters, str) else filters),
        )

    def _due_in(self) -> float:
        """Seconds until imagery is expected; not above 0 when it is overdue."""
        return 0.0 if self.latency is None else (self._query.end + self.latency).timestamp() - time.time()

    def _get_next_poke_interval(
        self, started_at: datetime | float, run_duration: Callable[[], float], poke_count: int
    ) -> float:
        usual: float = super()._get_next_poke_interval(started_at, run_duration, poke_count)
        # Not past the end of the wait: what was due too late is a timeout when the wait ends.
        return max(usual, min(self._due_in(), self.timeout - run_duration()))

    def _defer(self) -> None:
        now, due_in = time.time(), self._due_in()
        trigger = EarthEngineImageryWaitTrigger(
            query=self._query.to_json(),
            min_images=self._demand[0],
            min_coverage=self._demand[1],
            project_id=self.project_id,
            gcp_conn_id=self.gcp_conn_id,
            impersonation_chain=self.impersonation_chain,
            poll_interval=self.poke_interval,
            not_before=now + max(self.poke_interval, due_in),
            deadline=now + self.timeout,
        )
        self.defer(
            trigger=trigger,
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout) + DEFERRAL_SLACK,
        )


def _timeout(timeout: timedelta | float | None, latency: timedelta | None) -> timedelta | float:
    if timeout is not None:
        return timeout
    usual = timedelta(seconds=conf.getfloat("sensors", "default_timeout"))
    return usual if latency is None else usual + latency
