"""From the arguments of the collection's export to one request for each image, all checked before anything is sent."""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow_ee.core.batch import ExportImageRequest
from airflow_ee.core.expression import Expression, constant, load_image
from airflow_ee.core.grid_choice import choose_grid
from airflow_ee.operators.arguments import integer, names, text_or_none
from airflow_ee.operators.export_identity import ExportIdentity
from airflow_ee.operators.export_image import image_options

if TYPE_CHECKING:
    from airflow_ee.core.grid import PixelGrid
    from airflow_ee.core.region import Region
    from airflow_ee.core.resources import Asset

__all__ = ["CollectionPlan", "ImageExport", "placed"]

PRIORITY_ORDERS = ("newest_first", "oldest_first")
# The service's own priority: orders go down from it, so that they pass no other export of the project.
HIGHEST_PRIORITY = 100
PLACEHOLDER = "{image_id}"
FIELDS = ("index", "image_id", "date")
_OPTIONS = (
    "destination_uri", "file_export_options", "asset_export_options", "file_format", "cloud_optimized", "no_data",
    "file_dimensions", "skip_empty_files", "tf_record_options", "pyramiding_policy", "pyramiding_policy_overrides", "overwrite",
)  # fmt: skip
_FILLED = ("destination_uri", "file_export_options", "asset_export_options")


@dataclass(frozen=True, slots=True)
class ImageExport:
    """The export of one image."""

    image_id: str
    request: ExportImageRequest
    identity: ExportIdentity

    @property
    def uri(self) -> str:
        """Where it was told to write."""
        return self.request.destination.uri


class CollectionPlan:
    """
    What an operator's rendered arguments mean for each image.

    :param arguments: The operator's.
    :param region: The one that grids are made for.
    :param make: Gives the expression of an image by its id; None: the image itself.
    :param workload_tag: For requests.
    """

    def __init__(
        self,
        arguments: Any,
        *,
        region: Region | None,
        make: Callable[[str], Expression] | None,
        workload_tag: str,
    ) -> None:
        self._arguments, self._region, self._make, self._workload_tag = arguments, region, make, workload_tag
        self._bands = names("bands", arguments.bands)
        self._max_pixels = integer("max_pixels", arguments.max_pixels)
        self._shared = self._shared_grid()
        self._cut: dict[PixelGrid, PixelGrid | None] = {}
        self.outside: list[str] = []
        """Images without a pixel in the region: of a region with many corners the service looks at the box."""

    def exports(
        self, images: Sequence[Asset], identify: Callable[[ExportImageRequest], ExportIdentity]
    ) -> list[ImageExport]:
        """
        The exports of all images, in the order in which they are started.

        :param images: In order of time.
        :param identify: What tells a request from all others.
        """
        order = text_or_none(self._arguments.priority)
        if order == "newest_first":
            images = images[::-1]
        priorities = _priorities(order, len(images))
        made = []
        for image, priority in zip(images, priorities, strict=True):
            grid = self._shared or self._native_grid(image)
            if grid is None:
                self.outside.append(image.id)
                continue
            request = self._request(image, grid, priority)
            made.append(ImageExport(image.id, request, identify(request)))
        _refuse_collisions(made)
        self._refuse_changing(images)
        return made

    def _request(self, image: Asset, grid: PixelGrid, priority: int | None) -> ExportImageRequest:
        return ExportImageRequest(
            expression=self._expression(image),
            description="unnamed",
            grid=grid,
            max_pixels=self._max_pixels,
            priority=priority,
            workload_tag=self._workload_tag,
            **image_options(self._filled(image)),
        )

    def _expression(self, image: Asset) -> Expression:
        made = load_image(image.id) if self._make is None else self._make(image.id)
        if self._bands is None:
            return made
        if self._make is None:
            for band in self._bands:
                image.band(band)
        return made.wrap("Image.select", "input", bandSelectors=constant(self._bands))

    def _shared_grid(self) -> PixelGrid | None:
        """The grid of all images; None where each has its own."""
        arguments = self._arguments
        sized = (arguments.scale, arguments.crs, arguments.crs_transform, arguments.dimensions)
        if all(text_or_none(value) is None for value in (arguments.grid, *sized)):
            return None
        scale, crs, transform, dimensions = map(text_or_none, sized)
        return choose_grid(
            grid=text_or_none(arguments.grid),
            region=self._region,
            scale=scale,
            crs=crs,
            crs_transform=transform,
            dimensions=dimensions,
        )

    def _native_grid(self, image: Asset) -> PixelGrid | None:
        """The finest grid of an image's bands, cut to the region; None where it lies outside."""
        chosen = image.bands if self._bands is None or self._make is not None else map(image.band, self._bands)
        grids = [band.grid for band in chosen if band.grid is not None]
        if not grids:
            raise ValueError(f"no grid: {image.id} tells none of its own. Give grid, or region with scale and crs")
        # In one coordinate system, as the bands of an image are.
        native = min(grids, key=lambda grid: abs(grid.transform[0]))
        if native not in self._cut:
            try:
                self._cut[native] = choose_grid(native=native, region=self._region)
            except ValueError:
                self._cut[native] = None
        return self._cut[native]

    def _filled(self, image: Asset) -> SimpleNamespace:
        """The arguments that tell where an image goes, with the image's own names in them."""
        options = SimpleNamespace(**{name: getattr(self._arguments, name) for name in _OPTIONS})
        fields = {
            "index": image.index,
            "image_id": image.id.replace("/", "_"),
            "date": None if image.start_time is None else image.start_time.date(),
        }
        for name in _FILLED:
            setattr(options, name, _fill(name, getattr(options, name), fields))
        return options

    def _refuse_changing(self, images: Sequence[Asset]) -> None:
        """Refuse a function that gives another graph each time: every look would start all exports once more."""
        if self._make is not None and self._make(images[0].id) != self._make(images[0].id):
            raise ValueError(
                f"expression gives another graph each time it is called for {images[0].id}: it must not depend on the time or on chance"
            )


def placed(template: Expression, image_id: str) -> Expression:
    """
    A graph with an image's id in the place of the placeholder.

    :param template: Has the placeholder in a text.
    :param image_id: Asset id.
    """
    if PLACEHOLDER not in template.text:
        raise ValueError(
            f"expression is the same for each image: write {PLACEHOLDER!r} in the place of the image's id, or give a function "
            "f(context, image_id, **expression_kwargs)"
        )
    return Expression.parse(template.text.replace(PLACEHOLDER, json.dumps(image_id)[1:-1]))


def _priorities(order: Any, count: int) -> list[int | None]:
    if order not in PRIORITY_ORDERS:
        if isinstance(order, str) and not order.lstrip("-").isdigit():
            raise ValueError(f"priority must be a number, {' or '.join(PRIORITY_ORDERS)}, got {order!r}")
        return [integer("priority", order)] * count
    return [HIGHEST_PRIORITY - place * (HIGHEST_PRIORITY + 1) // count for place in range(count)]


def _fill(name: str, value: Any, fields: Mapping[str, Any]) -> Any:
    """A text, or a REST body, with the fields filled in."""
    if isinstance(value, Mapping):
        return {key: _fill(name, item, fields) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    try:
        unknown = {field for _, field, _, _ in string.Formatter().parse(value)} - {None, *fields}
        filled = None if unknown else value.format(**fields)
    except (ValueError, TypeError) as problem:
        unknown, filled = {str(problem)}, None
    if filled is None:
        allowed = ", ".join(f"{{{field}}}" for field in FIELDS)
        raise ValueError(f"{name} must be a template with {allowed}, got {value!r}: {', '.join(map(repr, unknown))}")
    return filled


def _refuse_collisions(made: Sequence[ImageExport]) -> None:
    seen: dict[str, str] = {}
    for export in made:
        other = seen.setdefault(export.uri, export.image_id)
        if other != export.image_id:
            raise ValueError(
                f"destination_uri is {export.uri} for both {other} and {export.image_id}: images that go to one place replace each "
                "other; {index} or {image_id} in it tells them apart"
            )
