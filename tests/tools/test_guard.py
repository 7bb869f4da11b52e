import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.guard import descendants
from tools.stack import GUARD, session_members

LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands orphans to a subreaper")

# One that changes its session and ignores SIGTERM, one whose parent ends at once, one that is the command itself.
FAMILY = """
setsid bash -c 'trap "" TERM; sleep 300 & wait; sleep 300' &
(sleep 300 &)
sleep 300
"""


def guarded(*command: str, parent: int | None = None, grace: float = 0.5) -> list[str]:
    return [sys.executable, str(GUARD), "--parent", str(parent or os.getpid()), "--grace", str(grace), "--", *command]


def sessions_of(pid: int, *, at_least: int) -> set[int]:
    """The sessions of a family, once it has grown to its size."""
    deadline = time.monotonic() + 10
    while len(family := descendants(pid) | {pid}) < at_least:
        assert time.monotonic() < deadline, f"only {len(family)} processes"
        time.sleep(0.05)
    return {os.getsid(member) for member in family}


def wait_until_gone(sessions: set[int], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while living := {session: members for session in sessions if (members := session_members(session))}:
        assert time.monotonic() < deadline, f"still alive: {living}"
        time.sleep(0.1)


@LINUX_ONLY
def test_sigterm_ends_the_whole_family_even_those_that_left_it():
    with subprocess.Popen(guarded("bash", "-c", FAMILY), start_new_session=True) as guard:
        sessions = sessions_of(guard.pid, at_least=5)
        assert len(sessions) == 2
        guard.terminate()
        assert guard.wait(10) == 128 + signal.SIGTERM
    wait_until_gone(sessions, seconds=0)


@LINUX_ONLY
def test_the_family_ends_when_the_parent_is_killed_while_another_child_of_it_lives(tmp_path: Path):
    # A fork of the parent would keep a watchdog pipe open: the guard asks for its parent's id instead.
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, subprocess, sys, time\n"
        f"guard = subprocess.Popen([*{guarded(parent=1)[:3]!r}, str(os.getpid()), '--grace', '0.5', '--', "
        f"'bash', '-c', {FAMILY!r}], start_new_session=True)\n"
        "if os.fork():\n    print(guard.pid, flush=True)\n"
        "time.sleep(20)\n"
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        guard = int(parent.stdout.readline())
        sessions = sessions_of(guard, at_least=5)
        fork = next(iter(descendants(parent.pid) - descendants(guard) - {guard}))
        parent.kill()
        wait_until_gone(sessions, seconds=10)
        os.kill(fork, signal.SIGKILL)


@LINUX_ONLY
def test_the_command_ends_when_the_guard_itself_is_killed():
    with subprocess.Popen(guarded("sleep", "300"), start_new_session=True) as guard:
        sessions = sessions_of(guard.pid, at_least=2)
        guard.kill()
    wait_until_gone(sessions, seconds=2)


@pytest.mark.parametrize(("command", "status"), [("exit 0", 0), ("exit 3", 3), ("kill -KILL $$", 137)])
def test_the_guard_answers_the_commands_own_status(command, status):
    assert subprocess.run(guarded("bash", "-c", command), start_new_session=True, check=False).returncode == status
