"""One request for pixels as a job: the same function answers it in the server and in the processes beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Self

from airflow_ee.emulator.api import maps, pictures, pixels
from airflow_ee.emulator.api.calls import Answer, Call
from airflow_ee.emulator.session import Session

METHODS: Mapping[str, Callable[[Call, Session], Answer]] = {
    "getPixels": pixels.get_pixels,
    "image:computePixels": pixels.compute_pixels,
    "filmstripThumbnails.getPixels": pictures.get_filmstrip,
    "maps.tiles.get": maps.get_tile,
    "thumbnails.getPixels": pictures.get_thumbnail,
}
"""What may be computed in another process, by the method's name: its answer is made of the request alone."""


@dataclass(frozen=True, slots=True)
class Job:
    """A call, and the time at which it is answered."""

    call: Call
    now: datetime

    @classmethod
    def of_json(cls, shown: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`as_json`."""
        return cls(Call(**shown["call"]), datetime.fromisoformat(shown["now"]))

    def as_json(self) -> dict[str, Any]:
        """The job in JSON's own types."""
        call = {key: dict(value) if isinstance(value, Mapping) else value for key, value in asdict(self.call).items()}
        return {"call": call, "now": self.now.isoformat()}

    @property
    def values(self) -> int:
        """Pixels that the request's own grid says, 0 where it leaves that to the image."""
        size = self.call.body.get("grid", {}).get("dimensions", {})
        return int(size.get("width", 0)) * int(size.get("height", 0))


@dataclass(frozen=True, slots=True)
class Result:
    """An answer, and whether the same request would get the same answer again."""

    answer: Answer
    lasting: bool


def run(job: Job, session: Session) -> Result:
    """Do the work."""
    answer = METHODS[job.call.method](job.call, session)
    return Result(answer, lasting=not session.used_stored_assets)
