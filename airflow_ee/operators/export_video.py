"""Exports of videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_ee.core.batch import ExportVideoRequest
from airflow_ee.core.destination import Destination
from airflow_ee.core.export_options import file_options
from airflow_ee.operators.arguments import integer, number
from airflow_ee.operators.export_base import EarthEngineExportBaseOperator
from airflow_ee.operators.export_destinations import chosen_destination, rest_options

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["EarthEngineExportVideoOperator"]

VIDEO_FORMATS = ("MP4",)


class EarthEngineExportVideoOperator(EarthEngineExportBaseOperator):
    """
    Export a collection of images as an MP4 video, a frame for each image.

    Frames are what the expression gives: RGB, 8 bits deep, on one grid (``Image.visualize``, ``reproject`` and
    ``clipToBoundsAndScale`` in the expression).

    :param expression: REST graph, JSON text, a ``.json`` file, an ``ee`` object, or a callable
        ``f(context, **expression_kwargs)`` that returns one of these; it gives an ImageCollection.
    :param expression_kwargs: Arguments of the callable.
    :param destination_uri: ``gs://bucket/prefix`` or ``drive://folder/prefix``.
    :param file_export_options: Instead: ``fileExportOptions`` as the REST reference has it.
    :param frames_per_second: None: the service's own, 1.
    :param max_frames: Most frames; None: the service's own limit.
    :param max_pixels_per_frame: Most pixels of a frame; None: the service's own limit.
    """

    template_fields: Sequence[str] = (
        *EarthEngineExportBaseOperator.template_fields,
        "expression",
        "expression_kwargs",
        "destination_uri",
        "file_export_options",
        "frames_per_second",
        "max_frames",
        "max_pixels_per_frame",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "expression": "json",
        "expression_kwargs": "json",
        "file_export_options": "json",
    }

    def __init__(
        self,
        *,
        expression: Any,
        expression_kwargs: Mapping[str, Any] | None = None,
        destination_uri: str | None = None,
        file_export_options: Mapping[str, Any] | None = None,
        frames_per_second: float | str | None = None,
        max_frames: int | str | None = None,
        max_pixels_per_frame: int | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.expression = expression
        self.expression_kwargs = expression_kwargs
        self.destination_uri = destination_uri
        self.file_export_options = file_export_options
        self.frames_per_second = frames_per_second
        self.max_frames = max_frames
        self.max_pixels_per_frame = max_pixels_per_frame

    def build_request(self, context: Context) -> ExportVideoRequest:
        """
        Return the request: everything that can be checked is checked here, before anything is sent.

        :param context: Airflow's context.
        """
        _, options = rest_options(self, ("file_export_options",))
        if options is None:
            options = file_options(Destination.parse(self.destination_uri or ""), "MP4", VIDEO_FORMATS)
        return ExportVideoRequest(
            expression=self.resolve_expression(self.expression, self.expression_kwargs, context),
            description="unnamed",
            priority=integer("priority", self.priority),
            workload_tag=self.effective_workload_tag(context),
            file_export_options=options,
            frames_per_second=number("frames_per_second", self.frames_per_second),
            max_frames=integer("max_frames", self.max_frames),
            max_pixels_per_frame=integer("max_pixels_per_frame", self.max_pixels_per_frame),
        )

    def requested_destination(self) -> Destination:
        """Return where the export was told to write."""
        return chosen_destination(self, ("file_export_options",))
