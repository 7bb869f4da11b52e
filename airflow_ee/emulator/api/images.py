"""imageCollection:computeImages: what a list of images says of itself, without pixels."""

from __future__ import annotations

from typing import Any

from airflow_ee.emulator.api.calls import Answer, Call, page
from airflow_ee.emulator.api.features import plain_geometry
from airflow_ee.emulator.api.values import shown
from airflow_ee.emulator.catalog.assets import asset_name
from airflow_ee.emulator.errors import field_violation, invalid
from airflow_ee.emulator.limits import check_workload_tag
from airflow_ee.emulator.pixels.types import PixelType
from airflow_ee.emulator.session import Session
from airflow_ee.emulator.values.dates import Date, timestamp
from airflow_ee.emulator.values.element import Collection
from airflow_ee.emulator.values.image import Band, Image

PAGE_SIZE = 1000


def compute_images(call: Call, session: Session) -> Answer:
    """The images of an expression, as assets."""
    if "expression" not in call.body:
        raise field_violation("expression", "Expression must be specified.")
    check_workload_tag(call.body.get("workloadTag", ""))
    value = session.evaluate(call.body["expression"])
    images = value.elements if isinstance(value, Collection) else [value]
    if not all(isinstance(each, Image) for each in images):
        raise invalid("Expression must evaluate to an image collection.")
    part, token = page(images, call, default_size=PAGE_SIZE)
    body: dict[str, Any] = {"images": [as_asset(image) for image in part]} if part else {}
    return Answer({**body, "nextPageToken": token} if token else body, session.marker)


def as_asset(image: Image) -> dict[str, Any]:
    """An image as an EarthEngineAsset; a computed one has neither name nor time of update."""
    properties = dict(image.properties)
    body: dict[str, Any] = {"type": "IMAGE"}
    if image.id is not None:
        body |= {"name": asset_name(image.id), "id": image.id}
    if image.version is not None:
        body["updateTime"] = timestamp(Date(image.version / 1000).moment)
    for name, field in (("system:time_start", "startTime"), ("system:time_end", "endTime")):
        moment = properties.pop(name, None)
        if isinstance(moment, int | float | Date):
            body[field] = timestamp(Date.of(moment).moment)
    size = properties.pop("system:asset_size", None)
    properties.pop("system:footprint", None)
    if properties:
        body["properties"] = shown(properties)
    body["geometry"] = plain_geometry(image.geometry())
    body["bands"] = [as_band(band) for band in image.bands]
    return {**body, "sizeBytes": str(round(size))} if size else body


def as_band(band: Band) -> dict[str, Any]:
    """A REST ImageBand."""
    grid = band.extent.as_json() if band.extent is not None else band.projection.as_json()
    return {"id": band.name, "dataType": _data_type(band.type), "grid": grid}


def _data_type(type_: PixelType) -> dict[str, Any]:
    return type_.as_json()
