"""The service's limits, with the words in which it refuses what exceeds them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from airflow_ee.emulator.errors import EmulatorError, field_violation, invalid
from airflow_ee.emulator.values.image import Band

MAX_REQUEST_BYTES = 50_331_648
"""48 MiB of pixels, each counted with one byte for its mask."""

MAX_SIDE = 32_768
MAX_THUMBNAIL_BYTES = 33_554_432
MAX_THUMBNAIL_SIDE = 10_000
MAX_BANDS = 1024
MAX_PAYLOAD_BYTES = 10_485_760
MAX_EXPORT_PIXELS = 100_000_000
MAX_FILE_BYTES = 17_179_869_184
MAX_PENDING = 3000
"""Operations of a project that may wait."""

MAX_DESCRIPTION = 100

_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,60}")
_WORKLOAD_TAG = re.compile(r"[a-z0-9]([-_a-z0-9]{0,61}[a-z0-9])?")


def check_pixels(width: int, height: int, bands: Sequence[Band], most: int = MAX_REQUEST_BYTES) -> None:
    """Refuse a request for more pixels than one answer may hold.

    >>> check_pixels(40818, 1, [])
    Traceback (most recent call last):
    airflow_ee.emulator.errors.EmulatorError: Pixel grid dimensions (40818x1) must be less than or equal to 32768.
    """
    if max(width, height) > MAX_SIDE:
        raise invalid(f"Pixel grid dimensions ({width}x{height}) must be less than or equal to {MAX_SIDE}.")
    if len(bands) > MAX_BANDS:
        raise invalid(f"Number of bands ({len(bands)}) must be less than or equal to {MAX_BANDS}.")
    size = width * height * sum(band.type.dtype.itemsize + 1 for band in bands)
    if size > most:
        raise invalid(f"Total request size ({size} bytes) must be less than or equal to {most} bytes.")


def check_thumbnail(width: int, height: int, bands: Sequence[Band]) -> None:
    """Refuse a thumbnail or download that is too large."""
    if max(width, height) > MAX_THUMBNAIL_SIDE:
        raise invalid(f"Pixel grid dimensions ({width}x{height}) must be less than or equal to {MAX_THUMBNAIL_SIDE}.")
    check_pixels(width, height, bands, MAX_THUMBNAIL_BYTES)


def check_payload(size: int) -> None:
    """Refuse a request body that is too long."""
    if size > MAX_PAYLOAD_BYTES:
        raise invalid(f"Request payload size exceeds the limit: {MAX_PAYLOAD_BYTES} bytes.")


def check_workload_tag(tag: str) -> None:
    """Refuse a tag that accounting could not use; an empty one is none."""
    if tag and not _WORKLOAD_TAG.fullmatch(tag):
        raise field_violation("workload_tag", f"Invalid workload tag: '{tag}'.")


def check_request_id(request_id: str) -> None:
    """Refuse an id with other characters than letters, digits and ``-``, or over 60 of them; an empty one is none."""
    if request_id and not _REQUEST_ID.fullmatch(request_id):
        text = "must be at most 60 characters of a-z, A-Z, 0-9 and '-'"
        raise field_violation("request_id", f"Invalid request_id '{request_id}': {text}.")


def check_priority(priority: int) -> None:
    """Refuse a priority outside of 0 to 9999."""
    if not 0 <= priority <= 9999:
        raise field_violation("priority", f"Priority must be an integer between 0 and 9999, got {priority}.")


def check_description(description: str) -> None:
    """Refuse a description that is too long."""
    if len(description) > MAX_DESCRIPTION:
        text = f"Description must be at most {MAX_DESCRIPTION} characters long, got {len(description)}."
        raise field_violation("description", text)


def check_export_pixels(pixels: int, allowed: int) -> None:
    """Refuse an export of more pixels than the request allows; the operation fails with it."""
    if pixels > allowed:
        text = "Specify higher maxPixels value if you intend to export a large area."
        raise invalid(f"Export too large: specified {pixels} pixels (max: {allowed}). {text}")


def too_many_requests() -> EmulatorError:
    """Flavour A of the two 429 answers: Earth Engine's own."""
    text = "Request was rejected because the request rate or concurrency limit was exceeded."
    return EmulatorError("RESOURCE_EXHAUSTED", f"Too Many Requests: {text}")
