"""What has become of each image's export, by one reading of the project's operations: the only memory there is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from airflow_ee.core.operations import operation_error

if TYPE_CHECKING:
    from airflow_ee.core.resources import Operation
    from airflow_ee.operators.collection_plan import ImageExport

__all__ = ["Attempts", "Board", "TryProgress"]


@dataclass(slots=True)
class TryProgress:
    """What one try of a task has to know of itself, through deferrals; all else the service tells."""

    began: float
    """Seconds of the epoch, by this side's clock."""
    since: float
    """Newest moment that the service told of when the try began, by its clock: what fails later failed in this try."""
    spent: dict[str, int] = field(default_factory=dict)
    """By content: the last number whose id is used up and has no operation, because the queue was full."""
    refused: dict[str, str] = field(default_factory=dict)
    """By content: why the service took no operation for an image."""

    def to_json(self) -> dict[str, Any]:
        """The progress as JSON values."""
        return {"began": self.began, "since": self.since, "spent": self.spent, "refused": self.refused}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The progress that :meth:`to_json` made."""
        return cls(value["began"], value["since"], dict(value["spent"]), dict(value["refused"]))

    @classmethod
    def begin(cls, now: float, operations: Iterable[Operation]) -> Self:
        """A try that begins now."""
        return cls(now, max((_latest_moment(operation) for operation in operations), default=0.0))


@dataclass(frozen=True, slots=True)
class Attempts:
    """The operations of one image's export, oldest first."""

    export: ImageExport
    numbers: Sequence[int] = ()
    operations: Sequence[Operation] = ()

    @property
    def state(self) -> str:
        """PENDING, RUNNING, CANCELLING, SUCCEEDED, FAILED or CANCELLED; NONE where nothing was started."""
        return self.telling.state if self.telling is not None else "NONE"

    @property
    def telling(self) -> Operation | None:
        """The operation that counts: one that goes on, else one that has succeeded, else the latest."""
        for wanted in (lambda each: not each.done, lambda each: each.state == "SUCCEEDED"):
            for operation in reversed(self.operations):
                if wanted(operation):
                    return operation
        return self.operations[-1] if self.operations else None

    @property
    def underway(self) -> bool:
        """Whether an operation goes on."""
        return self.telling is not None and not self.telling.done

    @property
    def succeeded(self) -> bool:
        """Whether the image is exported."""
        return self.state == "SUCCEEDED"

    def next_number(self, progress: TryProgress) -> int:
        """The lowest one under which nothing was asked for."""
        return max((*self.numbers, progress.spent.get(self.content, 0)), default=0) + 1

    def failure(self, progress: TryProgress) -> str | None:
        """Why the image failed in this try; None where it did not."""
        operation = self.telling
        if (
            operation is not None
            and operation.state in {"FAILED", "CANCELLED"}
            and _latest_moment(operation) > progress.since
        ):
            error = operation_error(operation)
            return None if error is None else error.message
        if operation is None or (operation.done and not self.succeeded):
            return progress.refused.get(self.content)
        return None

    @property
    def content(self) -> str:
        """What tells the image's export from the task's others."""
        return self.export.identity.content[:12]


class Board:
    """
    All images of a task.

    :param exports: One for each image.
    :param operations: Those of the project.
    :param task_mark: Of the task instance.
    """

    def __init__(self, exports: Sequence[ImageExport], operations: Sequence[Operation], task_mark: str) -> None:
        by_content: dict[str, list[tuple[int, Operation]]] = {}
        self.pending_in_project = 0
        for operation in operations:
            self.pending_in_project += operation.state == "PENDING"
            found = _content_and_number(operation.description, task_mark)
            if found is not None:
                by_content.setdefault(found[0], []).append((found[1], operation))
        self.attempts = [_attempts(export, by_content.pop(export.identity.content[:12], [])) for export in exports]
        self.replaced = [item for listed in by_content.values() for _, item in listed if not item.done]
        """Operations of the task for other requests, from before these were changed, that go on."""

    @property
    def underway(self) -> list[Operation]:
        """Operations of the images that go on."""
        return [item for each in self.attempts for item in each.operations if not item.done]

    @property
    def succeeded(self) -> list[Attempts]:
        """Images that are exported."""
        return [each for each in self.attempts if each.succeeded]

    @property
    def eecu_seconds(self) -> float:
        """Compute of all operations of the images."""
        return sum(item.eecu_seconds or 0.0 for each in self.attempts for item in each.operations)

    def failures(self, progress: TryProgress) -> list[tuple[Attempts, str]]:
        """Images that failed in this try, with the service's words."""
        found = ((each, each.failure(progress)) for each in self.attempts if not each.underway)
        return [(each, words) for each, words in found if words is not None]

    def missing(self, progress: TryProgress) -> list[Attempts]:
        """Images that are still to be started in this try, in their order."""
        return [
            each
            for each in self.attempts
            if not each.underway and not each.succeeded and each.failure(progress) is None
        ]

    def forget_spent(self, progress: TryProgress) -> None:
        """Keep only used up numbers that no listed operation is beyond."""
        numbers = {each.content: max(each.numbers, default=0) for each in self.attempts}
        progress.spent = {
            content: number for content, number in progress.spent.items() if numbers.get(content, number) < number
        }

    def started(self, progress: TryProgress) -> int:
        """How many operations this try has started."""
        return sum(
            _moment(item.create_time) > progress.since for each in self.attempts for item in each.operations
        )  # fmt: skip


def _latest_moment(operation: Operation) -> float:
    """When an operation last changed, in seconds of the epoch."""
    return max(map(_moment, (operation.create_time, operation.update_time, operation.end_time)))


def _moment(text: str | None) -> float:
    """Seconds of the epoch; 0 where nothing is told."""
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def _content_and_number(description: str, task_mark: str) -> tuple[str, int] | None:
    _, found, ending = description.rpartition(f"-{task_mark}-")
    content, _, number = ending.partition("-")
    return (content, int(number)) if found and number.isdigit() else None


def _attempts(export: ImageExport, listed: list[tuple[int, Operation]]) -> Attempts:
    # An operation that pages of a list show twice counts once.
    unique = {operation.name: (number, operation) for number, operation in listed}
    ordered = sorted(unique.values(), key=lambda pair: pair[0])
    return Attempts(export, [number for number, _ in ordered], [operation for _, operation in ordered])
