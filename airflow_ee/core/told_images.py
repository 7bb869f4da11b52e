"""Which images of a collection somebody was told of: what a watch has to remember, and no more."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from airflow_ee.core.resources import Asset

__all__ = ["ToldImages"]

FORMAT = 1
# An image may leave a listing for a while, and its time may be corrected: it is remembered for longer than it is looked for.
KEPT_LONGER = timedelta(days=30)


@dataclass(slots=True)
class ToldImages:
    """Images that were told, and images that are being told.

    Images arrive late, out of order and with times of their own, so no moment divides those that were told from those
    that were not: each is remembered, by six bytes of its id's digest, for as long as it is looked for.

    >>> image = Asset(name="projects/p/assets/a", id="a", type="IMAGE", start_time=datetime(2024, 6, 1, tzinfo=UTC))
    >>> told = ToldImages()
    >>> told.begin([image])
    >>> again = ToldImages.from_json(told.to_json())  # the process was killed
    >>> again.untold([image]) == [image], again.is_uncertain(image)
    (True, True)
    >>> again.finish([image])
    >>> again.untold([image])
    []
    """

    revisions: bool = False
    """Whether an image that was changed counts as another one."""
    told: dict[str, set[str]] = field(default_factory=dict)
    """Marks of images, by the day that they begin."""
    telling: dict[str, str] = field(default_factory=dict)
    """Marks of images of which nobody knows whether they were told, and the days that they begin."""
    _doubtful: set[str] = field(init=False, repr=False)
    _known: set[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._doubtful = set(self.telling)
        self._known = set().union(*self.told.values())

    def untold(self, images: Iterable[Asset]) -> list[Asset]:
        """Images that nobody has certainly been told of, in the order in which they appeared at the service."""
        return sorted((image for image in images if self._mark(image) not in self._known), key=_appearance)

    def is_uncertain(self, image: Asset) -> bool:
        """Whether somebody may have been told of the image by a process that ended before it could note that."""
        return self._mark(image) in self._doubtful

    def doubt(self, images: Iterable[Asset]) -> None:
        """Another process may have told of these."""
        self._doubtful |= {self._mark(image) for image in images}

    def begin(self, images: Sequence[Asset]) -> None:
        """From now on no other process knows whether these were told."""
        self.telling |= {self._mark(image): _day(image) for image in images}

    def finish(self, images: Iterable[Asset]) -> None:
        """These were told, for good."""
        for image in images:
            mark = self._mark(image)
            self.telling.pop(mark, None)
            self._doubtful.discard(mark)
            self.told.setdefault(_day(image), set()).add(mark)
            self._known.add(mark)

    def forget_before(self, moment: datetime) -> None:
        """Drop images that begin long before a moment, and so are not looked for."""
        first = (moment - KEPT_LONGER).date().isoformat()
        self.told = {day: marks for day, marks in self.told.items() if day >= first}
        self.telling = {mark: day for mark, day in self.telling.items() if day >= first}
        self._known = set().union(*self.told.values())

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values; the same images give the same ones."""
        return {
            "format": FORMAT,
            "told": {day: " ".join(sorted(marks)) for day, marks in sorted(self.told.items())},
            "telling": dict(sorted(self.telling.items())),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], *, revisions: bool = False) -> ToldImages:
        """What :meth:`to_json` made.

        Raises
        ------
        ValueError
            When it is something else.
        """
        if value.get("format") != FORMAT:
            raise ValueError(f"expected what a watch remembers, format {FORMAT}, got {value.get('format')!r}")
        told = {day: set(marks.split()) for day, marks in value["told"].items()}
        return cls(revisions=revisions, told=told, telling=dict(value["telling"]))

    def _mark(self, image: Asset) -> str:
        text = f"{image.id}@{image.update_time}" if self.revisions else image.id
        return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()[:6]).decode()


def _day(image: Asset) -> str:
    return (image.start_time.date() if image.start_time else date.max).isoformat()


def _appearance(image: Asset) -> tuple[datetime, datetime, str]:
    updated = datetime.fromisoformat(image.update_time) if image.update_time else datetime.min
    start = image.start_time or datetime.min.replace(tzinfo=UTC)
    return updated.replace(tzinfo=updated.tzinfo or UTC), start, image.id
