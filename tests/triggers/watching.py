"""Runs watches as the triggerer does, in processes that can be killed; what it kept of their events is a file of lines."""

import asyncio
import contextlib
import importlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


async def consume(trigger, log):
    """Keep each event before the next one is asked for. Between an event and its keeping there is an await, as in Airflow."""
    with open(log, "a", encoding="utf-8") as file:
        async for event in trigger.run():
            await asyncio.sleep(random.choice([0, 0.002, 0.01]))
            file.write(json.dumps(event.payload) + "\n")
            file.flush()


def revive(path, arguments, **injected):
    """Make a trigger anew from what another process serialized."""
    module, _, name = path.rpartition(".")
    trigger = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))
    for name, value in injected.items():
        setattr(trigger, name, value)
    return trigger


class Triggerers:
    """A process with everything imported, which forks one for each watch: a new triggerer starts in no time."""

    def __init__(self):
        self._launcher = subprocess.Popen(
            [sys.executable, "-m", "tests.triggers.watching"],
            cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def start(self, path, arguments, log):
        """Begin a watch in a process of its own, with this one's connections."""
        connections = {name: value for name, value in os.environ.items() if name.startswith("AIRFLOW_CONN_")}
        command = {"path": path, "arguments": arguments, "log": str(log), "environment": connections}
        assert self._ask(command) == "started"

    def kill(self):
        """End that process by SIGKILL; returns when it is gone."""
        assert self._ask({"kill": True}) == "killed"

    def close(self):
        """End the launcher."""
        self._launcher.stdin.close()
        self._launcher.wait(timeout=20)
        self._launcher.stdout.close()

    def _ask(self, command):
        self._launcher.stdin.write(json.dumps(command) + "\n")
        self._launcher.stdin.flush()
        return self._launcher.stdout.readline().strip()


def launch():
    """Answer commands line by line, where no log comes in between."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    import airflow_ee.hooks.earth_engine
    import airflow_ee.triggers.imagery  # noqa: F401

    child = 0
    for line in sys.stdin:
        command = json.loads(line)
        if "path" in command:
            child = os.fork()
            if child == 0:
                os.environ.update(command["environment"])
                with contextlib.suppress(KeyboardInterrupt):
                    asyncio.run(consume(revive(command["path"], command["arguments"]), command["log"]))
                os._exit(0)
            answer = "started"
        else:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            answer = "killed"
        print(answer, file=answers, flush=True)


if __name__ == "__main__":
    launch()
