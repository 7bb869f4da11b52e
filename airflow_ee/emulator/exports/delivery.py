"""How finished files reach their place: folders under the root, or a Cloud Storage endpoint."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import requests

from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.exports.destinations import FilePlace
from airflow_ee.emulator.exports.drafts import Draft

TRIES = 4
FIRST_PAUSE_SECONDS = 0.25
TIMEOUT_SECONDS = (5.0, 120.0)
"""To connect, and between two bytes."""

_CODES = {400: "INVALID_ARGUMENT", 401: "PERMISSION_DENIED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}


class Delivery(Protocol):
    """Puts a finished file in its place, whole or not at all."""

    def put(self, draft: Draft, place: FilePlace) -> None:
        """Deliver one file; the draft is used up."""


@dataclass(frozen=True, slots=True)
class FolderDelivery:
    """Buckets and Drive folders are folders under the root."""

    root: Path

    def put(self, draft: Draft, place: FilePlace) -> None:
        """Move the file: it appears under its name at once."""
        path = self.root / place.path(draft.suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.path.replace(path)


@dataclass(frozen=True, slots=True)
class StorageDelivery:
    """Buckets are those of a Cloud Storage JSON API; Drive stays a folder."""

    endpoint: str
    drive: FolderDelivery
    pause: Callable[[float], None] = field(default=time.sleep)

    def put(self, draft: Draft, place: FilePlace) -> None:
        """Upload the file in one request, which Cloud Storage takes whole or not at all; repeated if it may help."""
        if place.service != "gs":
            self.drive.put(draft, place)
            return
        problem = ""
        for number in range(TRIES):
            if number:
                self.pause(FIRST_PAUSE_SECONDS * 2 ** (number - 1))
            problem = self._try(draft, place)
            if not problem:
                draft.path.unlink()
                return
        raise EmulatorError("UNAVAILABLE", f"Unable to write to bucket {place.container}: {problem}")

    def _try(self, draft: Draft, place: FilePlace) -> str:
        """Nothing when it worked, else what is wrong and may pass; what will not pass is raised."""
        try:
            answer = self._post(draft, place)
        except requests.RequestException as error:
            return f"{type(error).__name__} at {self.endpoint}"
        if answer.status_code < 300:
            return ""
        if answer.status_code == 429 or answer.status_code >= 500:
            return f"HTTP {answer.status_code} from {self.endpoint}"
        code = _CODES.get(answer.status_code, "INTERNAL")
        raise EmulatorError(code, f"Unable to write to bucket {place.container}: HTTP {answer.status_code}.")

    def _post(self, draft: Draft, place: FilePlace) -> requests.Response:
        with requests.Session() as session, draft.path.open("rb") as content:
            # The endpoint is on this machine or network: a proxy for the internet does not know it.
            session.trust_env = False
            # An empty file object would be sent in chunks, which not every server takes.
            body = content if draft.path.stat().st_size else b""
            return session.post(
                f"{self.endpoint}/upload/storage/v1/b/{place.container}/o",
                params={"uploadType": "media", "name": f"{place.prefix}{draft.suffix}"},
                headers={"Content-Type": draft.content_type},
                data=body,
                timeout=TIMEOUT_SECONDS,
            )


def delivery(root: Path, storage_endpoint: str | None) -> Delivery:
    """The delivery for an endpoint's URL, or for none."""
    folders = FolderDelivery(root)
    if not storage_endpoint:
        return folders
    if not storage_endpoint.startswith(("http://", "https://")):
        raise ValueError(f"the storage endpoint must be an http or https URL, got {storage_endpoint!r}")
    return StorageDelivery(storage_endpoint.rstrip("/"), folders)
