"""What every export and import does: start once, wait, be cancelled when its user says so, and tell the result."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowTaskTimeout, conf

from airflow_ee.core.errors import (
    ConnectionFailed,
    EarthEngineError,
    EecuBudgetExceeded,
    OperationStuck,
)
from airflow_ee.core.operations import (
    cancel_and_wait,
    operation_error,
    operation_summary,
    wait_for_operation,
)
from airflow_ee.core.resources import Operation, check_request_id
from airflow_ee.core.watchdog import Watchdog
from airflow_ee.hooks.failures import fail_fast
from airflow_ee.links.earth_engine import EarthEngineOperationLink, operation_url
from airflow_ee.operators.admission import Admission, RunBudget
from airflow_ee.operators.arguments import read_boolean, refuse_unless
from airflow_ee.operators.export_identity import ExportIdentity
from airflow_ee.operators.export_results import EarthEngineOutputsBaseOperator
from airflow_ee.operators.starting import Memory, NoRoom, Starter, instance_of
from airflow_ee.operators.succession import end_task
from airflow_ee.triggers.operation import DEFERRAL_SLACK, EarthEngineOperationTrigger, deferral_timed_out
from airflow_ee.triggers.queue import EarthEngineQueueTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_ee.core.batch import BatchRequest
    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.core.destination import Destination

__all__ = ["EarthEngineExportBaseOperator"]

# Airflow kills a task that has not gone within five seconds of being asked to.
KILL_SECONDS = 4.0
ON_STUCK = ("fail", "restart")
# An operation that is cancelled is over after so long, usually much sooner.
RESTART_SECONDS = 120.0
# Of the service itself; a little less, because others start operations, too.
MOST_PENDING = 2900
# One request to cancel that hangs leaves time for another.
KILL_REQUEST_SECONDS = 2.0


class EarthEngineExportBaseOperator(EarthEngineOutputsBaseOperator):
    """
    Base of the exports and imports; what is said of an export here holds for both.

    An export starts once, however often its worker dies or its answer is lost: the service takes one operation for a
    requestId, which is made of the task instance and the content. A task that is cleared after success returns the
    operation it has, unless what it exports has changed. A failed export may be tried again, as another one.

    A requestId can be used up without an operation, by a request that a full queue refused. Where the service says that
    it has one and lists none even after a minute, the export is asked for under the next id.

    A project's queue takes 3,000 operations. When it is nearly full the task waits for its turn, in the triggerer if it is
    deferrable.

    :param description: Words that begin the operation's description; a mark of the task follows. Else DAG and task.
    :param priority: 0 to 9999, more is sooner; None: the service's own, 100.
    :param wait_for_completion: Whether the task waits for the operation; a sensor can do so instead.
    :param deferrable: Whether the triggerer waits, so that no worker slot is held.
    :param poll_interval: Seconds between two looks at the operation.
    :param operation_timeout_seconds: Longest time from the operation's creation to its end; then the task fails.
    :param stuck_after_seconds: Longest time in which state, progress, stages and attempt of a running operation may stay
        the same; None: any.
    :param on_stuck: What becomes of one that is stuck: ``fail`` fails the task and, with ``cancel_on_timeout``, cancels the
        operation; ``restart`` cancels it and starts another one.
    :param max_eecu_seconds: Most compute of the operation, in EECU seconds; one that has used more is cancelled, and the
        task fails for good.
    :param max_run_eecu_seconds: Most compute of all operations of the DAG run together: above it none is started.
    :param max_pending_operations: So many operations may wait in the project's queue before this one waits to be started;
        None: as many as the service takes.
    :param cancel_on_kill: Whether the operation is cancelled when a user kills the task. A try that Airflow gives up while the task
        goes on (it was cleared or started anew, or its worker shuts down and it has retries) leaves the operation to the next one.
    :param cancel_on_timeout: Whether the operation is cancelled when the task or its operation runs out of time.
    :param force_rerun: Start anew even where the same export has succeeded before; one that still runs is waited for.
        Once for a run and each clearing, however many tries these take. Before Airflow 3.3 nothing tells a retry from a
        clearing: there, a try that follows a crash starts anew as well when the export has succeeded in between.
    :param request_id: A requestId of one's own, 1 to 60 letters, digits and ``-``, instead of the computed one. It
        starts one operation for ever: after a failure, or with ``force_rerun``, give another one.
    """

    template_fields: Sequence[str] = (
        *EarthEngineOutputsBaseOperator.template_fields,
        "description",
        "priority",
        "force_rerun",
        "request_id",
    )
    operator_extra_links = (EarthEngineOperationLink(),)
    ui_color = "#cfe3f5"

    def __init__(
        self,
        *,
        description: str | None = None,
        priority: int | str | None = None,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = conf.getfloat("earth_engine", "poll_interval", fallback=30.0),
        operation_timeout_seconds: float | None = None,
        stuck_after_seconds: float | None = None,
        on_stuck: str = "fail",
        max_eecu_seconds: float | None = None,
        max_run_eecu_seconds: float | None = None,
        max_pending_operations: int | None = conf.getint("earth_engine", "max_pending_operations", fallback=2900),
        cancel_on_kill: bool = True,
        cancel_on_timeout: bool = True,
        force_rerun: bool | str = False,
        request_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, seconds in (
            ("poll_interval", poll_interval),
            ("operation_timeout_seconds", operation_timeout_seconds),
            ("stuck_after_seconds", stuck_after_seconds),
            ("max_eecu_seconds", max_eecu_seconds),
            ("max_run_eecu_seconds", max_run_eecu_seconds),
        ):
            if seconds is not None and not seconds > 0:
                raise ValueError(f"{name} must be above 0 seconds, got {seconds}")
        if max_pending_operations is not None and max_pending_operations < 1:
            raise ValueError(f"max_pending_operations must be at least 1, got {max_pending_operations}")
        refuse_unless("on_stuck", on_stuck, ON_STUCK)
        self.description = description
        self.priority = priority
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.operation_timeout_seconds = operation_timeout_seconds
        self.stuck_after_seconds = stuck_after_seconds
        self.on_stuck = on_stuck
        self.max_eecu_seconds = max_eecu_seconds
        self.max_run_eecu_seconds = max_run_eecu_seconds
        self.max_pending_operations = max_pending_operations
        self.cancel_on_kill = cancel_on_kill
        self.cancel_on_timeout = cancel_on_timeout
        self.force_rerun = force_rerun
        self.request_id = request_id
        self._running: str | None = None
        self._killed = False
        self._context: Context | None = None
        self._ending: threading.Thread | None = None

    @abstractmethod
    def build_request(self, context: Context) -> BatchRequest:
        """
        Return what to export or import, checked, with any description.

        :param context: Airflow's context.
        """

    @abstractmethod
    def requested_destination(self) -> Destination:
        """Return where the operation was told to write."""

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Start the export, or find the one that an earlier try started, and wait for it.

        :param context: Airflow's context.
        """
        with fail_fast():
            return self._start_and_wait(context)

    def execute_with_room(self, context: Context, event: dict[str, Any], above: int) -> dict[str, Any]:
        """
        Go on when the queue has room.

        :param context: Airflow's context.
        :param event: The trigger's event.
        :param above: Number of the last id that is used up.
        """
        if event["status"] == "timeout":
            raise TimeoutError("The project's queue of operations had no room in time; nothing was started")
        with fail_fast():
            if event["status"] == "error":
                raise ConnectionFailed(f"The project's queue could not be watched any longer: {event['message']}")
            return self._start_and_wait(context, above=above)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """
        Go on when the trigger has fired.

        :param context: Airflow's context.
        :param event: The trigger's event.
        """
        self._context = context
        self._running = name = event["operations"][0]
        with fail_fast():
            operation = self.client.get_operation(name)
            self._show(context, operation)
            self._tell(operation)
            if operation.done:
                return self._result(context, operation)
            match event["status"]:
                case "timeout":
                    raise self._time_out(name)
                case "over_budget":
                    raise self._over_budget(EecuBudgetExceeded(event["message"]), name)
                case "stuck":
                    self._heed_stuck(OperationStuck(event["message"]), name)
                    return self._start_and_wait(context)
            raise ConnectionFailed(f"{name} could not be watched any longer: {event['message']}")

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Go on after a deferral; when Airflow gave it up for lack of time, cancel the operation first.

        :param next_method: Name of the method that goes on.
        :param next_kwargs: Its arguments.
        :param context: Airflow's context.
        """
        if deferral_timed_out(next_method, next_kwargs) and self.cancel_on_timeout:
            for operation in self._running_operations(context):
                self.log.info("The deferral timed out: cancelling %s", operation.name)
                self.client.cancel_operation(operation.name)
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """
        Cancel the operation when a user kills the task; one that is just being started is cancelled once it is known.

        It is left to the next try where Airflow gives up this one only, and not the task.
        """
        # Before all else: the request may be on its way, and who waits for its answer looks at this.
        self._killed = True
        name, self._running = self._running, None
        if name is None or not self.cancel_on_kill:
            return
        # A client of its own: this runs in a signal handler, and the task's may be in the middle of a request.
        client = self.hook.get_client(
            project_id=self.project_id,
            request_timeout_seconds=KILL_REQUEST_SECONDS,
            request_retries=1,
            max_concurrency=1,
        )
        self._ending = end_task(
            self._context, what=name, cancel=lambda: self._see_cancelled(client, name), seconds=KILL_SECONDS
        )

    def _see_cancelled(self, client: EarthEngineClient, name: str) -> None:
        try:
            operation = cancel_and_wait(client, name, timeout_seconds=KILL_SECONDS)
        except EarthEngineError:
            # Nobody is left to raise it to: the task is over.
            self.log.exception("%s could not be cancelled", name)
        else:
            self.log.info("%s is %s", operation.name, operation.state)

    def _heed_kill(self, operation: Operation) -> None:
        """End a task whose kill came while its export was being started, and cancel that."""
        if self._killed and self.cancel_on_kill and not operation.done:
            self.on_kill()
            if self._ending is not None:
                self._ending.join(KILL_SECONDS)
            # Not for fail_fast: a worker that was shut down may have another try.
            raise RuntimeError(f"The task was killed while it started {operation.name}")

    def _start_and_wait(self, context: Context, *, above: int = 0) -> dict[str, Any]:
        self._context = context
        while True:
            operation = self._start_or_find(context, above)
            self._running = operation.name
            self._heed_kill(operation)
            self._show(context, operation)
            if operation.done or not self.wait_for_completion:
                return self._result(context, operation)
            if self.deferrable:
                self._defer(operation)
            try:
                return self._result(context, self._wait(operation))
            except OperationStuck as stuck:
                self._heed_stuck(stuck, operation.name)
            except EecuBudgetExceeded as spent:
                raise self._over_budget(spent, operation.name) from None

    def _start_or_find(self, context: Context, above: int) -> Operation:
        request = self.build_request(context)
        if self.request_id:
            check_request_id(self.request_id)
        starter = self._starter(context, request)
        while True:
            anew = read_boolean("force_rerun", self.force_rerun)
            anew = anew and not starter.memory.knows_in_this_series(starter.identity)
            try:
                return starter.start_or_find(request, anew=anew, above=above)
            except NoRoom as full:
                self.log.info("%s Waiting for room", full.words)
                above = full.number
                if self.deferrable:
                    self._defer_until_room(above)
                time.sleep(self.poll_interval)

    def _starter(self, context: Context, request: BatchRequest) -> Starter:
        """How soon it runs, under which tag and description, does not tell one export from another."""
        client = self.client
        content = {"method": request.method, **request.content(), "project": client.settings.project}
        return Starter(
            hook=self.hook,
            client=client,
            identity=ExportIdentity.of(self.hook.options.request_namespace, instance_of(context), content),
            memory=Memory.of(context),
            words=self.description or f"{self.dag_id}-{self.task_id}",
            request_id=self.request_id,
            cancel_replaced=self.cancel_on_kill,
            killed=lambda: self._killed,
            admit=lambda: self._admission(context).check(client),
        )

    def _admission(self, context: Context) -> Admission:
        budget = None
        if self.max_run_eecu_seconds is not None:
            budget = RunBudget.of(context, self.hook.options.request_namespace, self.max_run_eecu_seconds)
        return Admission(self.max_pending_operations, budget)

    def _running_operations(self, context: Context) -> list[Operation]:
        """Operations of this task instance that go on; found without building the request again."""
        known = Memory.of(context).known()
        if known is not None and known["operation"]:
            listed = [self.client.get_operation(known["operation"])]
        else:
            mark = ExportIdentity.of(self.hook.options.request_namespace, instance_of(context), {}).task_mark
            listed = [item for item in self.client.list_operations() if f"-{mark}-" in item.description]
        return [operation for operation in listed if not operation.done]

    def _show(self, context: Context, operation: Operation) -> None:
        """Make the link known; anew in each try, because Airflow forgets it in between."""
        client = self.client
        endpoint = client.settings.endpoint if client.emulated else None
        if client.simulated:
            self.log.warning("The server is an emulator: %s works on simulated imagery", operation.name)
        EarthEngineOperationLink().persist(context, operation_url(operation.name, emulator_endpoint=endpoint))

    def _defer_until_room(self, above: int) -> None:
        seconds = self.execution_timeout.total_seconds() if self.execution_timeout is not None else None
        trigger = EarthEngineQueueTrigger(
            max_pending_operations=self.max_pending_operations or MOST_PENDING,
            project_id=self.project_id,
            gcp_conn_id=self.gcp_conn_id,
            impersonation_chain=self.impersonation_chain,
            poll_interval=self.poll_interval,
            deadline=None if seconds is None else time.time() + seconds,
        )
        timeout = None if seconds is None else timedelta(seconds=seconds) + DEFERRAL_SLACK
        self.defer(trigger=trigger, method_name="execute_with_room", kwargs={"above": above}, timeout=timeout)

    def _defer(self, operation: Operation) -> None:
        seconds = [self._remaining_seconds(operation)]
        if self.execution_timeout is not None:
            seconds.append(self.execution_timeout.total_seconds())
        limits = [limit for limit in seconds if limit is not None]
        limit = min(limits) if limits else None
        trigger = EarthEngineOperationTrigger(
            operation_names=[operation.name],
            project_id=self.project_id,
            gcp_conn_id=self.gcp_conn_id,
            impersonation_chain=self.impersonation_chain,
            poll_interval=self.poll_interval,
            deadline=None if limit is None else time.time() + limit,
            cancel_on_kill=self.cancel_on_kill,
            stuck_after_seconds=self.stuck_after_seconds,
            max_eecu_seconds=self.max_eecu_seconds,
        )
        timeout = None if limit is None else timedelta(seconds=max(0.0, limit)) + DEFERRAL_SLACK
        self.defer(trigger=trigger, method_name="execute_complete", timeout=timeout)

    def _wait(self, operation: Operation) -> Operation:
        try:
            return wait_for_operation(
                self.client,
                operation.name,
                poll_interval_seconds=self.poll_interval,
                timeout_seconds=self._remaining_seconds(operation),
                on_change=self._tell,
                watchdog=Watchdog(self.stuck_after_seconds, self.max_eecu_seconds),
            )
        except TimeoutError:
            raise self._time_out(operation.name) from None
        except AirflowTaskTimeout:
            # Airflow calls on_kill after this; which of the two switches counts is decided here.
            self._cancel_late(operation.name)
            raise

    def _time_out(self, name: str) -> TimeoutError:
        """What to raise when time is up, after the operation was cancelled if so wished."""
        self._cancel_late(name)
        ending = "it was cancelled" if self.cancel_on_timeout else "it goes on"
        return TimeoutError(f"{name} did not end in time; {ending}")

    def _over_budget(self, spent: EecuBudgetExceeded, name: str) -> EecuBudgetExceeded:
        """What to raise when an operation has used more than it may: its cancellation is not waited for."""
        self._running = None
        self.client.cancel_operation(name)
        return EecuBudgetExceeded(f"{spent.message} It was cancelled.")

    def _heed_stuck(self, stuck: OperationStuck, name: str) -> None:
        """End with the task, or see the operation cancelled, so that another one can be started."""
        if self.on_stuck == "fail":
            self._cancel_late(name)
            raise OperationStuck(f"{stuck.message} {'It was cancelled.' if self.cancel_on_timeout else 'It goes on.'}")
        self.log.warning("%s It is cancelled, and started again", stuck.message)
        operation = cancel_and_wait(self.client, name, timeout_seconds=RESTART_SECONDS)
        if not operation.done:
            raise OperationStuck(
                f"{stuck.message} It was cancelled, and is still {operation.state} {RESTART_SECONDS:g} s later."
            )

    def _cancel_late(self, name: str) -> None:
        self._running = None
        if self.cancel_on_timeout:
            self.log.info("Time is up: cancelling %s", name)
            self.client.cancel_operation(name)

    def _remaining_seconds(self, operation: Operation) -> float | None:
        if self.operation_timeout_seconds is None:
            return None
        age = 0.0
        if operation.create_time:
            age = max(0.0, time.time() - datetime.fromisoformat(operation.create_time).timestamp())
        return max(0.0, self.operation_timeout_seconds - age)

    def _tell(self, operation: Operation) -> None:
        stages = ", ".join(
            f"{stage.name} {stage.complete_work_units:g}/{stage.total_work_units:g}" for stage in operation.stages
        )
        self.log.info(
            "%s is %s: %.0f %%, attempt %d, %s EECU s%s",
            operation.name,
            operation.state,
            100 * operation.progress,
            operation.attempt,
            "?" if operation.eecu_seconds is None else f"{operation.eecu_seconds:g}",
            f" ({stages})" if stages else "",
        )

    def _result(self, context: Context, operation: Operation) -> dict[str, Any]:
        """What the task returns; the operation's own failure when it has failed."""
        if operation.done:
            self._running = None
        error = operation_error(operation)
        if error is not None:
            if self._killed:
                # Not for fail_fast: a worker that was shut down may have another try.
                raise RuntimeError(f"The task was killed, and with it {error.message}")
            raise error
        destination = self.requested_destination()
        summary = operation_summary(operation, requested_uri=destination.uri)
        if operation.done and destination.kind == "gs":
            summary |= self.look_at_outputs(context, destination, operation)
        self.tell_assets(context, summary)
        return summary
