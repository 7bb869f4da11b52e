"""Exports of all images of a collection in an interval, by one task."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowTaskTimeout, conf

from airflow_ee.core.errors import (
    Aborted,
    ConnectionFailed,
    EarthEngineError,
    EecuBudgetExceeded,
    OperationStuck,
    SomeFailed,
)
from airflow_ee.core.watchdog import Watchdog
from airflow_ee.hooks.failures import fail_fast
from airflow_ee.links.earth_engine import EarthEngineOperationLink, operation_url
from airflow_ee.operators.admission import RunBudget
from airflow_ee.operators.arguments import refuse_unless, text_or_none
from airflow_ee.operators.cancelling import CANCELS_AT_ONCE, cancel_all
from airflow_ee.operators.collection_base import EarthEngineCollectionBaseOperator
from airflow_ee.operators.collection_board import Attempts, Board, TryProgress
from airflow_ee.operators.collection_results import failures_told, manifest_lines, summary
from airflow_ee.operators.collection_starting import CollectionStarter
from airflow_ee.operators.export_identity import ExportIdentity
from airflow_ee.operators.locations import connection_for, location
from airflow_ee.operators.starting import instance_of
from airflow_ee.operators.succession import end_task
from airflow_ee.triggers.collection import EarthEngineCollectionTrigger
from airflow_ee.triggers.operation import DEFERRAL_SLACK, deferral_timed_out

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.core.resources import Operation

__all__ = ["EarthEngineExportCollectionOperator"]

ON_FAILURE = ("fail", "ignore")
# Airflow kills a task that has not gone within five seconds of being asked to.
KILL_SECONDS = 4.0
# One request to cancel that hangs leaves time for others.
KILL_REQUEST_SECONDS = 2.0
CANCEL_REQUEST_SECONDS = 20.0
# After a timeout nobody waits to kill the process.
CANCEL_SECONDS = 60.0
# A signal is heeded within so long of a wait.
NAP_SECONDS = 0.5
# Rounds of requests in which ids turn out to be used up; the next try goes on behind them.
MOST_ROUNDS = 20
# The list of operations shows one that was started a little later; so many that it does not show are asked for in one look.
MOST_GETS = 50
# When so many have failed and none has succeeded, no more are started.
HOPELESS = 20
# The worker comes back when there is room for so large a part of what may go on, or wait, at once: not for each operation.
ROOM_SHARE, QUEUE_SHARE = 2, 20


class EarthEngineExportCollectionOperator(EarthEngineCollectionBaseOperator):
    """
    Export every image of a collection in an interval to Cloud Storage, Drive or assets: one task, an operation for each.

    The interval is half open and is compared with an image's beginning. It comes from the arguments, else from the DAG
    run's params ``start`` and ``end``, else from a data interval that is not empty, else the task fails.

    Each image is exported once, however often workers die, answers are lost or the task is retried: what was started is
    told by marks in the descriptions of the project's operations, and nowhere else. A retry, and a task that is cleared,
    starts images that have failed or are missing, and no others; one that failed in a try is not started again in it. What
    is exported has to change (bands, expression, destination, grid and so on) for an image to be exported anew.

    Returns ``images, started, succeeded, failed, manifest_uri, operations, failures, uris, uri_count, eecu_seconds, start,
    end``, with at most 20 operations, failures and URIs; all of them are in the manifest. When images failed the task fails,
    naming the first 20. When 20 failed and none succeeded no more are started.

    :param description: Words that begin the operations' descriptions; a mark of the task follows. Else DAG and task.
    :param priority: 0 to 9999, more is sooner; None: the service's own, 100. ``newest_first`` and ``oldest_first`` go down
        from 100 to 0, so that no other export of the project has to wait for these.
    :param max_concurrent_operations: So many operations of this task go on at once, waiting in the queue or running.
    :param max_pending_operations: So many operations may wait in the project's queue before this task waits to start more;
        None: as many as the service takes.
    :param on_failure: Images that failed: ``fail`` the task, or ``ignore`` them; they are named in either case.
    :param max_failed_images: So many may fail before ``fail`` counts.
    :param manifest_uri: A file with a line of JSON for each image, written whole at the end, also when some failed.
    :param output_conn_id: Airflow connection of the manifest's object store; for ``gs://`` it defaults to ``gcp_conn_id``.
    :param deferrable: Whether the triggerer waits, so that no worker slot is held. ``execution_timeout`` counts from the
        beginning of the try, through all of its deferrals.
    :param poll_interval: Seconds between two looks at the operations.
    :param stuck_after_seconds: Longest time in which state, progress, stages and attempt of a running operation may stay
        the same; then it is cancelled, and its image has failed; None: any.
    :param max_eecu_seconds: Most compute of all images together, in EECU seconds; when they have used more, all that go on
        are cancelled, and the task fails for good.
    :param max_run_eecu_seconds: Most compute of all operations of the DAG run together: above it none is started, those of this task
        that go on are cancelled, and it fails for good.
    :param cancel_on_kill: Whether the operations are cancelled when a user kills the task: all that can be within seconds. A try
        that Airflow gives up while the task goes on leaves them to the next one.
    :param cancel_on_timeout: Whether the operations are cancelled when the task runs out of time.
    """

    template_fields: Sequence[str] = (
        *EarthEngineCollectionBaseOperator.template_fields,
        "description",
        "priority",
        "max_concurrent_operations",
        "on_failure",
        "max_failed_images",
        "manifest_uri",
        "output_conn_id",
    )
    operator_extra_links = (EarthEngineOperationLink(),)
    ui_color = "#cfe3f5"

    def __init__(
        self,
        *,
        description: str | None = None,
        priority: int | str | None = None,
        max_concurrent_operations: int | str = 300,
        max_pending_operations: int | None = conf.getint("earth_engine", "max_pending_operations", fallback=2900),
        on_failure: str = "fail",
        max_failed_images: int | str = 0,
        manifest_uri: str | None = None,
        output_conn_id: str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = conf.getfloat("earth_engine", "poll_interval", fallback=30.0),
        stuck_after_seconds: float | None = None,
        max_eecu_seconds: float | None = None,
        max_run_eecu_seconds: float | None = None,
        cancel_on_kill: bool = True,
        cancel_on_timeout: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, seconds in (
            ("poll_interval", poll_interval),
            ("stuck_after_seconds", stuck_after_seconds),
            ("max_eecu_seconds", max_eecu_seconds),
            ("max_run_eecu_seconds", max_run_eecu_seconds),
        ):
            if seconds is not None and not seconds > 0:
                raise ValueError(f"{name} must be above 0 seconds, got {seconds}")
        if max_pending_operations is not None and max_pending_operations < 1:
            raise ValueError(f"max_pending_operations must be at least 1, got {max_pending_operations}")
        self.description = description
        self.priority = priority
        self.max_concurrent_operations = max_concurrent_operations
        self.max_pending_operations = max_pending_operations
        self.on_failure = on_failure
        self.max_failed_images = max_failed_images
        self.manifest_uri = manifest_uri
        self.output_conn_id = output_conn_id
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.stuck_after_seconds = stuck_after_seconds
        self.max_eecu_seconds = max_eecu_seconds
        self.max_run_eecu_seconds = max_run_eecu_seconds
        self.cancel_on_kill = cancel_on_kill
        self.cancel_on_timeout = cancel_on_timeout
        self._task_mark: str | None = None
        self._starter: CollectionStarter | None = None
        self._known: dict[str, Operation] = {}
        self._watchdogs: dict[str, Watchdog] = {}
        self._counts: tuple[int, ...] = ()
        self._killed = False
        self._over = False
        self._context: Context | None = None
        self._ending: threading.Thread | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Start what is missing, as there is room, and wait for all of it.

        :param context: Airflow's context.
        """
        return self._run(context, None)

    def execute_with_room(
        self, context: Context, event: dict[str, Any], progress: dict[str, Any]
    ) -> dict[str, Any]:  # fmt: skip
        """
        Go on when there is room for more, or nothing is left to wait for.

        :param context: Airflow's context.
        :param event: The trigger's event.
        :param progress: Of this try.
        """
        self._task_mark = self._mark_of(context)
        match event["status"]:
            case "timeout":
                self._cancel_late()
                raise TimeoutError(f"The operations did not end in time; {self._fate}")
            case "error":
                raise ConnectionFailed(f"The operations could not be watched any longer: {event['message']}")
            case "stuck":
                self._cancel(event["operations"], CANCEL_SECONDS)
        return self._run(context, TryProgress.from_json(progress))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Go on after a deferral; when Airflow gave it up for lack of time, cancel the operations first.

        :param next_method: Name of the method that goes on.
        :param next_kwargs: Its arguments.
        :param context: Airflow's context.
        """
        if deferral_timed_out(next_method, next_kwargs):
            self._task_mark = self._mark_of(context)
            self._cancel_late()
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Start no more, and cancel what goes on when a user kills the task: as many as there is time for."""
        # Before all else: requests may be on their way, and who waits for their answers looks at this.
        self._killed = True
        if self._task_mark is None or not self.cancel_on_kill:
            return
        client = self._cancelling_client(KILL_REQUEST_SECONDS)

        def cancel() -> None:
            self._over = True
            self._cancel_all(client, KILL_SECONDS)

        self._ending = end_task(
            self._context, what="what goes on of its operations", cancel=cancel, seconds=KILL_SECONDS
        )

    def _run(self, context: Context, progress: TryProgress | None) -> dict[str, Any]:
        try:
            with fail_fast():
                return self._start_and_wait(context, progress)
        except AirflowTaskTimeout:
            # Airflow calls on_kill after this; which of the two switches counts is decided here.
            self._killed = True
            self._cancel_late()
            raise
        finally:
            if self._ending is not None:
                self._ending.join(KILL_SECONDS)

    def _start_and_wait(self, context: Context, progress: TryProgress | None) -> dict[str, Any]:
        self._check_arguments()
        self._context = context
        exports = self.exports(context)
        operations = self._list_operations()
        progress = progress or TryProgress.begin(time.time(), operations)
        self._starter = self._make_starter(progress)
        self._task_mark = mark = self._mark_of(context)
        self._cancel_replaced(Board(exports, operations, mark))
        while True:
            board = self._start_some(Board(exports, operations, mark), operations, progress)
            self._tell(context, board, progress)
            self._heed_budget(board)
            missing = self._missing(board, progress)
            if not missing and not board.underway:
                return self._finish(board, progress)
            if self.deferrable:
                self._defer(board, progress, len(missing))
            self._cancel_stuck(board)
            self._sleep()
            operations = self._list_operations()

    def _cancel_replaced(self, board: Board) -> None:
        """A user who corrects a request and clears its task wants these exports, and not the others as well."""
        if self.cancel_on_kill and board.replaced:
            self.log.info(
                "The request has changed since %d operations were started: cancelling them", len(board.replaced)
            )
            self._cancel([item.name for item in board.replaced], CANCEL_SECONDS)

    def _check_arguments(self) -> None:
        refuse_unless("on_failure", self.on_failure, ON_FAILURE)
        for name, least in (("max_concurrent_operations", 1), ("max_images", 1), ("max_failed_images", 0)):
            if self.count(name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if text_or_none(self.manifest_uri) is not None:
            self._manifest().check_writable()

    def _make_starter(self, progress: TryProgress) -> CollectionStarter:
        return CollectionStarter(
            client=self.client,
            words=self.description or f"{self.dag_id}-{self.task_id}",
            progress=progress,
            killed=lambda: self._killed,
            cancel=self._cancel_at_birth,
        )

    def _cancel_at_birth(self, operation: Operation) -> None:
        if self._over:
            self.client.cancel_operation(operation.name)

    def _start_some(self, board: Board, operations: Sequence[Operation], progress: TryProgress) -> Board:
        """Start as many as there is room for; gives the board with these on it."""
        assert self._starter is not None
        assert self._task_mark is not None
        exports = [each.export for each in board.attempts]
        for _ in range(MOST_ROUNDS):
            self._heed_kill()
            wanted = self._missing(board, progress)[: self._room(board)]
            if not wanted:
                return board
            self._heed_run_budget(board, operations)
            self.log.info("Starting %d exports", len(wanted))
            started, fits = self._starter.start(wanted)
            self._known |= {operation.name: operation for operation in started}
            board = Board(exports, [*operations, *self._unlisted(operations)], self._task_mark)
            if not fits:
                self.log.info("The project's queue is full")
                return board
        raise Aborted(f"Ids of {len(wanted)} images are used up {MOST_ROUNDS} times over, and no operation is listed.")

    def _missing(self, board: Board, progress: TryProgress) -> list[Attempts]:
        if len(board.failures(progress)) >= HOPELESS and not board.succeeded:
            return []
        return board.missing(progress)

    def _room(self, board: Board) -> int:
        room = self.count("max_concurrent_operations") - len(board.underway) - len(board.replaced)
        if self.max_pending_operations is not None:
            room = min(room, self.max_pending_operations - board.pending_in_project)
        return max(0, room)

    def _list_operations(self) -> list[Operation]:
        """All operations of the project, and those of this process that the list does not show yet."""
        client = self.client
        listed = list(client.list_operations())
        for operation in self._unlisted(listed)[:MOST_GETS]:
            self._known[operation.name] = client.get_operation(operation.name)
        return [*listed, *self._unlisted(listed)]

    def _unlisted(self, listed: Sequence[Operation]) -> list[Operation]:
        names = {operation.name for operation in listed}
        return [operation for name, operation in self._known.items() if name not in names]

    def _tell(self, context: Context, board: Board, progress: TryProgress) -> None:
        first = next((each.telling for each in board.attempts if each.telling is not None), None)
        if first is not None and not self._counts:
            client = self.client
            endpoint = client.settings.endpoint if client.emulated else None
            if client.simulated:
                self.log.warning("The server is an emulator: it exports simulated imagery")
            EarthEngineOperationLink().persist(context, operation_url(first.name, emulator_endpoint=endpoint))
        counts = (len(board.underway), len(board.succeeded), len(board.failures(progress)), len(board.attempts))
        if counts != self._counts:
            self.log.info("%d operations go on, %d have succeeded, %d have failed, of %d images", *counts)
        self._counts = counts

    def _heed_kill(self) -> None:
        if self._killed:
            # Not for fail_fast: a worker that was shut down may have another try.
            raise RuntimeError("The task was killed before all of its exports had ended")

    def _heed_budget(self, board: Board) -> None:
        used, allowed = board.eecu_seconds, self.max_eecu_seconds
        if allowed is not None and used > allowed:
            self._cancel([operation.name for operation in board.underway], CANCEL_SECONDS)
            raise EecuBudgetExceeded(
                f"The exports have used {used:g} EECU seconds of {allowed:g}. Those that went on were cancelled."
            )

    def _heed_run_budget(self, board: Board, operations: Sequence[Operation]) -> None:
        if self.max_run_eecu_seconds is None or self._context is None:
            return
        budget = RunBudget.of(self._context, self.hook.options.request_namespace, self.max_run_eecu_seconds)
        try:
            budget.check(operations)
        except EecuBudgetExceeded:
            self._cancel([operation.name for operation in board.underway], CANCEL_SECONDS)
            raise

    def _cancel_stuck(self, board: Board) -> None:
        """Cancel operations that do not move; their images have failed then."""
        if self.stuck_after_seconds is None:
            return
        for operation in board.underway:
            dog = self._watchdogs.setdefault(operation.name, Watchdog(self.stuck_after_seconds))
            try:
                dog.check(operation)
            except OperationStuck as stuck:
                if operation.state != "CANCELLING":
                    self.log.warning("%s It is cancelled", stuck.message)
                    self._cancel([operation.name], CANCEL_SECONDS)

    def _sleep(self) -> None:
        end = time.monotonic() + self.poll_interval
        while (left := end - time.monotonic()) > 0:
            self._heed_kill()
            time.sleep(min(left, NAP_SECONDS))
        self._heed_kill()

    def _defer(self, board: Board, progress: TryProgress, missing: int) -> None:
        limit = None
        if self.execution_timeout is not None:
            limit = max(0.0, progress.began + self.execution_timeout.total_seconds() - time.time())
        underway, pending = self._until(board, missing)
        trigger = EarthEngineCollectionTrigger(
            task_mark=str(self._task_mark),
            underway_at_most=underway,
            pending_at_most=pending,
            project_id=self.project_id,
            gcp_conn_id=self.gcp_conn_id,
            impersonation_chain=self.impersonation_chain,
            poll_interval=self.poll_interval,
            deadline=None if limit is None else time.time() + limit,
            cancel_on_kill=self.cancel_on_kill,
            stuck_after_seconds=self.stuck_after_seconds,
            max_eecu_seconds=self.max_eecu_seconds,
        )
        board.forget_spent(progress)
        self.defer(
            trigger=trigger,
            method_name="execute_with_room",
            kwargs={"progress": progress.to_json()},
            timeout=None if limit is None else timedelta(seconds=limit) + DEFERRAL_SLACK,
        )

    def _until(self, board: Board, missing: int) -> tuple[int, int | None]:
        """How few of the task's operations may go on, and of the project's may wait, when the worker is needed again."""
        if not missing:
            return len(board.replaced), None
        most, longest = self.count("max_concurrent_operations"), self.max_pending_operations
        underway = most - max(1, min(missing, most // ROOM_SHARE))
        return underway, None if longest is None else longest - max(1, min(missing, longest // QUEUE_SHARE))

    def _finish(self, board: Board, progress: TryProgress) -> dict[str, Any]:
        """What the task returns, after the manifest was written; fails where too many images did."""
        self._task_mark = None
        manifest = None
        if text_or_none(self.manifest_uri) is not None:
            place = self._manifest()
            place.write_bytes(manifest_lines(board.attempts, progress))
            manifest = place.url
        result = summary(board, progress, manifest)
        missing = len(board.missing(progress))
        if not result["failed"]:
            return result
        words = failures_told(result, missing)
        if self.on_failure == "fail" and (missing or result["failed"] > self.count("max_failed_images")):
            raise SomeFailed(words)
        self.log.warning("%s", words)
        return result

    def _manifest(self) -> Any:
        conn_id = text_or_none(self.output_conn_id)
        return location(str(self.manifest_uri), connection_for(self.manifest_uri, conn_id, self.gcp_conn_id))

    def _mark_of(self, context: Context) -> str:
        return ExportIdentity.of(self.hook.options.request_namespace, instance_of(context), {}).task_mark

    @property
    def _fate(self) -> str:
        return "they were cancelled" if self.cancel_on_timeout else "they go on"

    def _cancel_late(self) -> None:
        """Cancel all that goes on when time is up, if so wished; what on_kill would do is decided then."""
        if self.cancel_on_timeout and self._task_mark is not None:
            self.log.info("Time is up: cancelling the operations")
            self._over = True
            self._cancel_all(self._cancelling_client(CANCEL_REQUEST_SECONDS), CANCEL_SECONDS)
        self._task_mark = None

    def _cancelling_client(self, request_timeout_seconds: float) -> EarthEngineClient:
        """A client that gives up soon. One of its own: a signal may come while the task's is in the middle of a request."""
        return self.hook.get_client(
            project_id=self.project_id,
            request_timeout_seconds=request_timeout_seconds,
            request_retries=1,
            max_concurrency=CANCELS_AT_ONCE,
        )

    def _cancel_all(self, client: EarthEngineClient, seconds: float) -> None:
        """Cancel the task's operations that go on; those that run first, which cost more than those that wait."""
        mark = f"-{self._task_mark}-"
        if self._starter is not None:
            self._starter.settle()
        try:
            own = [item for item in client.list_operations() if mark in item.description and not item.done]
        except EarthEngineError:
            # Nobody is left to raise it to: the task is over.
            self.log.exception("The operations could not be listed, nor cancelled")
            return
        own.sort(key=lambda item: item.state == "PENDING")
        self.log.info("Cancelling %d operations", len(own))
        cancel_all(client, [item.name for item in own], seconds=seconds)

    def _cancel(self, names: Sequence[str], seconds: float) -> None:
        cancel_all(self._cancelling_client(CANCEL_REQUEST_SECONDS), names, seconds=seconds)
