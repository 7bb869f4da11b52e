"""Run one command so that nothing of it is ever left behind.

``python guard.py --parent PID --grace SECONDS -- COMMAND ...``

The guard is the leader of a session of its own and the parent of the command. It ends the command, and all that
descends from it, when it gets SIGTERM or SIGINT, when the command ends by itself, and when the process that started the guard
is gone, however that ended. Three choices make this hold:

* The parent's death is seen by ``getppid``, asked twice a second. ``PR_SET_PDEATHSIG`` fires when the *thread* that
  forked ends, and reaches no grandchild; a watchdog pipe stays open as long as any other child
  of the parent holds a copy.
* On Linux the guard is a child subreaper: a process whose parent died becomes the guard's own child, so that even those
  that changed their group or session (Airflow's tasks do the first, BashOperator the second) are found and killed.
* The command itself, and only it, is bound to the guard by ``PR_SET_PDEATHSIG``: it covers a guard killed by SIGKILL.

Only the standard library is used, and little of it: five of these run beside each Airflow.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

POLL_SECONDS = 0.5
"""How often the parent is looked for: the time that an orphaned stack lives on, at most, before it starts to stop."""
TERM_SECONDS = 3.0
"""What is left once the command itself ended has this long to end on SIGTERM: tasks write their manifests in it."""
ORPHAN_GRACE_SECONDS = 2.0
"""The grace of a command whose parent is gone: nobody waits for a tidy end, and a new start may follow at once."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LINUX = sys.platform == "linux"


def main(arguments: list[str] | None = None) -> int:
    """Run the command and answer its exit status, 128 + n for signal n."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parent", type=int, required=True, help="process id: the command ends when this process does")
    parser.add_argument("--grace", type=float, default=10.0, help="seconds between SIGTERM and SIGKILL")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    wakeup = _catch_signals()
    if _LINUX:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    command = subprocess.Popen(
        options.command,
        stdin=subprocess.DEVNULL,
        process_group=0,
        preexec_fn=_die_with_guard,  # noqa: PLW1509  # the guard has one thread
    )
    with command as child:
        grace = _wait_for_reason_to_stop(child, options.parent, wakeup, options.grace)
        # Without a subreaper, whoever loses its parent in what follows is found again only by having been seen before.
        seen = set() if _LINUX else descendants(os.getpid())
        _end(child, grace)
        _end_the_rest(seen)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def descendants(root: int) -> set[int]:
    """All processes below ``root``, found by their parents' ids."""
    children: dict[int, list[int]] = {}
    for pid, parent in living():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    pending = [root]
    while pending:
        below = children.get(pending.pop(), [])
        found.update(below)
        pending.extend(below)
    return found


def living() -> Iterable[tuple[int, int]]:
    """Each living process with its parent; zombies are left out, for they are dead."""
    if not _LINUX:
        listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True)
        rows = (line.split() for line in listing.stdout.splitlines())
        return [(int(row[0]), int(row[1])) for row in rows if not row[2].startswith("Z")]
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):  # it ended while we looked
                fields = Path("/proc", entry, "stat").read_text(errors="replace").rpartition(")")[2].split()
                if fields[0] not in "ZX":
                    found.append((int(entry), int(fields[1])))
    return found


def _catch_signals() -> int:
    """Turn SIGTERM, SIGINT, SIGHUP and SIGCHLD into bytes on a pipe, whose reading end this answers."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return reading


def _prctl(option: int, value: int) -> None:
    """Set a property of this process; Linux only."""
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}, {value}): {os.strerror(number)}")


def _die_with_guard() -> None:
    """Bind the command to the guard: runs in the command's process before it starts."""
    if _LINUX:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_for_reason_to_stop(child: subprocess.Popen[bytes], parent: int, wakeup: int, grace: float) -> float:
    """Wait for the command's end, a signal or the parent's death, and answer the seconds of grace to give it."""
    while True:
        ready, _, _ = select.select([wakeup], [], [], POLL_SECONDS)
        received = set(os.read(wakeup, 4096)) if ready else set()
        if child.poll() is not None:
            return 0.0
        if os.getppid() != parent:
            print(f"guard: the parent, process {parent}, is gone: stopping", flush=True)
            return min(grace, ORPHAN_GRACE_SECONDS)
        if received - {signal.SIGCHLD}:
            return grace
        _reap(sparing=child.pid)


def _end(child: subprocess.Popen[bytes], grace: float) -> None:
    """End the command itself by SIGTERM, and by SIGKILL once the grace is over."""
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(grace)
    except subprocess.TimeoutExpired:
        print(f"guard: process {child.pid} still ran {grace:g} s after SIGTERM", flush=True)
        _signal_all(descendants(os.getpid()), signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(min(grace, TERM_SECONDS))
        child.kill()
        child.wait()


def _end_the_rest(seen: set[int]) -> None:
    """End what the command left behind: by SIGTERM, then by SIGKILL, looking for new forks until there are none."""
    deadline = time.monotonic() + TERM_SECONDS
    told: set[int] = set()
    while left := descendants(os.getpid()) | _still_ours(seen):
        late = time.monotonic() > deadline
        _signal_all(left if late else left - told, signal.SIGKILL if late else signal.SIGTERM)
        told |= left
        time.sleep(0.05)
        _reap()
    _reap()


def _still_ours(seen: set[int]) -> set[int]:
    """Those of the processes that live and are in the guard's session: ids are used again, sessions tell."""
    ours = set()
    for pid in seen & {living for living, _ in living()} if seen else ():
        with contextlib.suppress(ProcessLookupError):  # it ended while we looked
            if os.getsid(pid) == os.getsid(0):
                ours.add(pid)
    return ours


def _signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to each process that still exists."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _reap(sparing: int = 0) -> None:
    """Collect the adopted processes that ended, but not the command itself, whose status ``Popen`` wants."""
    if not _LINUX:  # orphans come here by PR_SET_CHILD_SUBREAPER only
        return
    with contextlib.suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid == sparing:
                return
            os.waitpid(ended.si_pid, 0)


if __name__ == "__main__":
    sys.exit(main())
