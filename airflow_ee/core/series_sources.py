"""What is asked of the service for an image of a series: bands, score images of other collections, and what is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from airflow_ee.core.expression import load_joined
from airflow_ee.core.observations import SeriesBand
from airflow_ee.core.pixels import PixelSource
from airflow_ee.core.presets import Preset
from airflow_ee.core.quality import QualityRule
from airflow_ee.core.quality_names import COMPANIONS
from airflow_ee.core.region import Region
from airflow_ee.core.resources import Asset

__all__ = [
    "check_images",
    "companion_collections",
    "fetched_bands",
    "image_source",
    "quality_rule",
    "refuse_collection",
    "region_name",
]

# Plain collections keep the offset of baseline 04.00 on, 1000 digital numbers; https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_S2_SR
_PLAIN_SENTINEL2 = {"COPERNICUS/S2_SR": "COPERNICUS/S2_SR_HARMONIZED", "COPERNICUS/S2": "COPERNICUS/S2_HARMONIZED"}
# QA60 holds nothing in products of these days, and an empty cloud mask reads as a clear sky; the same pages.
_QA60 = "QA60"
_QA60_EMPTY = (datetime(2022, 1, 25, tzinfo=UTC), datetime(2024, 2, 28, tzinfo=UTC))


def refuse_collection(collection: str) -> None:
    """Refuse collections whose numbers jump in the middle of a series.

    >>> refuse_collection("COPERNICUS/S2_SR")
    Traceback (most recent call last):
    ValueError: collection: reflectances of COPERNICUS/S2_SR jump by 1000 on 2022-01-25; take COPERNICUS/S2_SR_HARMONIZED
    """
    if collection in _PLAIN_SENTINEL2:
        raise ValueError(
            f"collection: reflectances of {collection} jump by 1000 on 2022-01-25; take {_PLAIN_SENTINEL2[collection]}"
        )


def quality_rule(text: str | None, preset: Preset | None, collection: str, first: Asset) -> QualityRule | None:
    """The rule behind the argument ``quality``, checked against the bands of an image.

    Parameters
    ----------
    text
        ``preset``: the preset's own; None or empty: none; else a rule.

    Raises
    ------
    ValueError
        When it is no rule, or reads a band that neither the image has nor a score image of it.
    """
    if text == "preset":
        text = preset.quality if preset else None
    if text is None or text.strip().lower() in {"", "none"}:
        return None
    rule = QualityRule.parse(str(text))
    there = {band.id for band in first.bands}
    missing = [
        band
        for band in rule.bands
        if band not in there and (band not in COMPANIONS or collection not in COMPANIONS[band].of)
    ]
    if missing:
        raise ValueError(
            f"quality: {first.id} has no band {', '.join(missing)}, which the rule {rule.text!r} reads; "
            "use quality=None to take every valid pixel, or a rule over bands that are there"
        )
    return rule


def companion_collections(rule: QualityRule | None, first: Asset) -> tuple[str, ...]:
    """Collections of score images that the rule reads."""
    there = {band.id for band in first.bands}
    wanted = [band for band in (rule.bands if rule else ()) if band not in there]
    return tuple(dict.fromkeys(COMPANIONS[band].collection for band in wanted))


def check_images(images: Sequence[Asset], bands: Sequence[SeriesBand], rule: QualityRule | None) -> None:
    """Refuse images of days on which a band that is read means nothing.

    Raises
    ------
    ValueError
        When QA60 is read of an image from January 2022 to February 2024.
    """
    read = {*(rule.bands if rule else ()), *(name for band in bands for name in band.inputs)}
    if _QA60 not in read:
        return
    empty = [image for image in images if image.start_time and _QA60_EMPTY[0] <= image.start_time < _QA60_EMPTY[1]]
    if empty:
        raise ValueError(
            f"QA60 is empty in {len(empty)} of {len(images)} images, from 2022-01-25 to 2024-02-28 (first {empty[0].id}): clouds "
            "would pass as clear; use S2_CLOUD_SCORE, S2_SCL_CLEAR or S2_CLOUD_PROBABILITY"
        )


def fetched_bands(
    image: Asset, bands: Sequence[SeriesBand], rule: QualityRule | None, preset: Preset | None
) -> tuple[str, ...]:
    """The series' own bands, and those that quality and observation dates need."""
    there = {band.id for band in image.bands}
    dates = preset.day_of_year_band if preset else None
    own = (name for band in bands for name in band.inputs)
    return tuple(dict.fromkeys((*own, *(rule.bands if rule else ()), *([dates] if dates in there and dates else []))))


def image_source(
    image: Asset, companions: Mapping[str, Asset], wanted: Sequence[str], workload_tag: str | None
) -> PixelSource:
    """The image, joined with its score images where it has not all bands itself.

    A band of a score image that is not there is left out: a rule that reads it is good nowhere then.

    Raises
    ------
    ValueError
        When the image has not a band, and no other collection has it either.
    """
    there = {band.id for band in image.bands}
    own = [name for name in wanted if name in there or name not in COMPANIONS]
    parts = [(image, own)]
    for collection, companion in companions.items():
        parts.append(
            (companion, [name for name in wanted if name not in own and COMPANIONS[name].collection == collection])
        )
    bands = tuple(asset.band(name) for asset, names in parts for name in names)
    if len(parts) == 1:
        return PixelSource(asset_id=image.id, bands=bands, workload_tag=workload_tag)
    joined = load_joined([(asset.id, names) for asset, names in parts])
    return PixelSource(expression=joined, bands=bands, workload_tag=workload_tag)


def region_name(region: Region | None, property_name: str | None) -> str:
    """What a region is called in the table: its feature's property or id, else a digest of its geometry.

    >>> region_name(Region.parse([0, 0, 1, 1]), None)
    'region-4db64699eba0'
    """
    if region is None:
        if property_name:
            raise ValueError("region_id_property needs a region")
        return "grid"
    if property_name:
        if property_name not in region.properties:
            raise ValueError(
                f"region_id_property: the region has no property {property_name!r}; it has {', '.join(region.properties) or 'none'}"
            )
        return str(region.properties[property_name])
    return (
        region.id
        or f"region-{hashlib.sha256(json.dumps(region.to_geojson(), sort_keys=True).encode()).hexdigest()[:12]}"
    )
