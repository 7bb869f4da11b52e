"""What a task tells of the operations of many images: a few words to other tasks, all of it to a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_ee.core.operations import operation_error, operation_summary

if TYPE_CHECKING:
    from airflow_ee.operators.collection_board import Attempts, Board, TryProgress

__all__ = ["failures_told", "manifest_lines", "summary"]

MOST_TOLD = 20
"""More than these belong in a file, not in a message between tasks."""


def summary(board: Board, progress: TryProgress, manifest_uri: str | None) -> dict[str, Any]:
    """The task's result, as small for thousands of images as for twenty.

    :param board: What has become of the images.
    :param progress: Of the try.
    :param manifest_uri: Where all of it is told.
    """
    failures = board.failures(progress)
    told = [item for each in board.attempts if (item := _summary(each)) is not None]
    uris = [uri for item in told if item["state"] == "SUCCEEDED" for uri in item["uris"]]
    return {
        "images": len(board.attempts),
        "started": board.started(progress),
        "succeeded": len(board.succeeded),
        "failed": len(failures),
        "manifest_uri": manifest_uri,
        "operations": [item["operation"] for item in told][:MOST_TOLD],
        "failures": [{"image_id": each.export.image_id, "message": words} for each, words in failures[:MOST_TOLD]],
        "uris": uris[:MOST_TOLD],
        "uri_count": sum(item["uri_count"] for item in told if item["state"] == "SUCCEEDED"),
        "eecu_seconds": board.eecu_seconds,
        "start": min((item["start"] for item in told if item["start"]), default=None),
        "end": max((item["end"] for item in told if item["end"]), default=None),
    }


def failures_told(result: Mapping[str, Any], missing: int) -> str:
    """The failures of a result in words, the first of them by name.

    :param result: What :func:`summary` made.
    :param missing: How many images were not started because nothing succeeded.
    """
    named = "; ".join(f"{item['image_id']}: {item['message']}" for item in result["failures"])
    more = result["failed"] - len(result["failures"])
    ending = f" {missing} more were not started, because none has succeeded." if missing else ""
    rest = f"; and {more} more" if more else ""
    return f"{result['failed']} of {result['images']} images failed: {named}{rest}.{ending}"


def manifest_lines(attempts: Sequence[Attempts], progress: TryProgress) -> bytes:
    """A line of JSON for each image.

    :param attempts: The images.
    :param progress: Of the try.
    """
    return b"".join(json.dumps(_row(each, progress), sort_keys=True).encode() + b"\n" for each in attempts)


def _row(each: Attempts, progress: TryProgress) -> dict[str, Any]:
    operation = each.telling
    told = _summary(each) or {"operation": None, "uris": [], "eecu_seconds": None, "start": None, "end": None}
    error = None if operation is None else operation_error(operation)
    return {
        "image_id": each.export.image_id,
        "state": each.state,
        "requested_uri": each.export.uri,
        "error": progress.refused.get(each.content) if error is None else error.message,
        **{name: told[name] for name in ("operation", "uris", "eecu_seconds", "start", "end")},
    }


def _summary(each: Attempts) -> dict[str, Any] | None:
    return None if each.telling is None else operation_summary(each.telling, requested_uri=each.export.uri)
