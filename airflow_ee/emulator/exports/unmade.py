"""Exports whose content the emulator does not make: videos, FeatureViews and classifiers.

They are checked and go through their whole life; what is left at the destination is a note that says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from airflow_ee.emulator.catalog.assets import asset_id, asset_name
from airflow_ee.emulator.errors import field_violation
from airflow_ee.emulator.exports.destinations import AssetPlace, FilePlace, asset_place, file_place
from airflow_ee.emulator.exports.drafts import Draft

UnmadeKind = Literal["video", "map of videos", "FeatureView", "classifier"]

_KINDS: dict[str, UnmadeKind] = {
    "video:export": "video",
    "videoMap:export": "map of videos",
    "classifier:export": "classifier",
}
_FRAMES_PER_SECOND = (0.1, 100.0)
_RULES = ("rankByAttributeRule", "rankByMinVisibleLodRule", "rankByGeometryTypeRule", "rankByMinZoomLevelRule")


@dataclass(frozen=True, slots=True)
class UnmadeTask:
    """What would be made, and where a note of it goes."""

    kind: UnmadeKind
    place: FilePlace
    asset: AssetPlace | None = None
    """The asset that is not made, if it is one."""


def not_made(method: str, body: Mapping[str, Any]) -> UnmadeKind | None:
    """What a request asks for without getting it; None where its content is made."""
    if method == "table:export":
        return "FeatureView" if "featureViewExportOptions" in body else None
    return _KINDS.get(method)


def statement(kind: UnmadeKind) -> str:
    """What is said of such an export."""
    return f"Not made by the emulator: of a {kind} nothing but a note is written."


def write_note(task: UnmadeTask, method: str, body: Mapping[str, Any], folder: Path) -> Draft:
    """The note as a draft: what was asked for, without its expression, and that it was not made."""
    asked = {name: value for name, value in body.items() if name != "expression"}
    note = {"emulator": statement(task.kind), "notMade": task.kind, "method": method, "request": asked}
    path = folder / "note.json"
    path.write_text(json.dumps(note, indent=1), encoding="utf-8")
    return Draft(path, ".not-made.json", "application/json")


def video_task(body: Mapping[str, Any], description: str) -> UnmadeTask:
    """The task of ``video:export``."""
    _check_video(body.get("videoOptions", {}))
    return UnmadeTask("video", _video_place(body, "fileExportOptions", "file_export_options", description))


def video_map_task(body: Mapping[str, Any], description: str) -> UnmadeTask:
    """The task of ``videoMap:export``."""
    _check_video(body.get("videoOptions", {}))
    return UnmadeTask("map of videos", _video_place(body, "tileExportOptions", "tile_export_options", description))


def _video_place(body: Mapping[str, Any], name: str, path: str, description: str) -> FilePlace:
    if name not in body:
        raise field_violation(path, f"{path} must be specified.")
    kind = body[name].get("fileFormat", "MP4")
    if kind not in ("MP4", "VIDEO_FILE_FORMAT_UNSPECIFIED"):
        raise field_violation(f"{path}.file_format", f"Unsupported file format for video exports: {kind}.")
    return file_place(body[name], description, path)


def _check_video(options: Mapping[str, Any]) -> None:
    slowest, fastest = _FRAMES_PER_SECOND
    speed = float(options.get("framesPerSecond", 1.0))
    if not slowest <= speed <= fastest:
        text = f"Frames per second must be between {slowest} and {fastest:g}, got {speed:g}."
        raise field_violation("video_options.frames_per_second", text)
    for name, path in (("maxFrames", "max_frames"), ("maxPixelsPerFrame", "max_pixels_per_frame")):
        if int(options.get(name, 0)) < 0:
            raise field_violation(f"video_options.{path}", f"{name} must not be negative, got {options[name]}.")


def classifier_task(body: Mapping[str, Any], description: str) -> UnmadeTask:  # noqa: ARG001 -- as of the others
    """The task of ``classifier:export``."""
    if "assetExportOptions" not in body:
        raise field_violation("asset_export_options", "asset_export_options must be specified.")
    return _asset_task("classifier", asset_place(body["assetExportOptions"]))


def feature_view_task(options: Mapping[str, Any]) -> UnmadeTask:
    """The task of ``table:export`` to a FeatureView."""
    path = "feature_view_export_options"
    target = options.get("featureViewDestination", {})
    if not target.get("name"):
        raise field_violation(f"{path}.feature_view_destination.name", "FeatureView name must be specified.")
    if int(target.get("assetVersion", 0)) < 0:
        raise field_violation(f"{path}.feature_view_destination.asset_version", "Version must not be negative.")
    _check_ingestion(options.get("ingestionTimeParameters", {}), f"{path}.ingestion_time_parameters")
    return _asset_task("FeatureView", AssetPlace(target["name"], overwrite=False))


def _asset_task(kind: UnmadeKind, asset: AssetPlace) -> UnmadeTask:
    return UnmadeTask(kind, FilePlace("not-made", "", asset_name(asset_id(asset.name))), asset)


def _check_ingestion(given: Mapping[str, Any], path: str) -> None:
    most = int(given.get("thinningOptions", {}).get("maxFeaturesPerTile", 1))
    if most < 1:
        raise field_violation(f"{path}.thinning_options", f"Maximum of features per tile must be positive, got {most}.")
    ranking = given.get("rankingOptions", {})
    for name in ("zOrderRankingRule", "thinningRankingRule"):
        for rule in ranking.get(name, {}).get("rankByOneThingRule", ()):
            _check_rule(rule, f"{path}.ranking_options")


def _check_rule(rule: Mapping[str, Any], path: str) -> None:
    if not any(name in rule for name in _RULES):
        raise field_violation(path, "A ranking rule must say what it ranks by.")
    if "rankByAttributeRule" in rule and not rule["rankByAttributeRule"].get("attributeName"):
        raise field_violation(path, "A ranking rule by an attribute must name the attribute.")
