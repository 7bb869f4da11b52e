"""What the page about these operators tells to type does what it says."""

import contextlib
import os
import re
import signal
import socket
import subprocess

import pytest

from tests.providers.conftest import FOLDER

PAGE = FOLDER.parent / "docs/engines-operators.md"

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def test_the_commands_of_the_page_run_as_they_stand(tmp_path):
    commands = re.search(r"```bash\n(make setup-providers.*?)```", PAGE.read_text(), re.DOTALL)[1]
    # The environment is this one; nothing of the checkout's own runs is touched.
    commands = commands.replace("make setup-providers java\n", "")
    commands = commands.replace("$PWD/build/", f"{tmp_path}/").replace("build/", f"{tmp_path}/")
    commands = commands.replace("8085", str(free_port()))
    shell = subprocess.Popen(
        ["bash", "-e"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        cwd=FOLDER.parent, start_new_session=True, env={**os.environ, "AIRFLOW__CORE__UNIT_TEST_MODE": "False"},
    )  # fmt: skip
    try:
        said, _ = shell.communicate(commands, timeout=240)
    finally:
        # The emulator is still there when the commands have not come to their end.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
    assert shell.returncode == 0, said[-4000:]
    assert "\nthe same bytes\n" in said
    assert len(list((tmp_path / "engines/earth-engine/large_area").glob("*.tif"))) == 2
