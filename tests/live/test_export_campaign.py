"""Exports whose processes are killed at random moments, ten in flight: each starts one operation, which ends well.

``make test-slow`` makes 160 rounds, each with a kill (or with answers cut after the work was done); a plain run a few. A round is
drawn from its number, so that one that went wrong can be had again: ``AIRFLOW_EE_EXPORT_ROUNDS=17-17``. With
``AIRFLOW_EE_CAMPAIGN=FILE`` rounds that have passed are noted there, and a campaign that was stopped goes on behind them.
"""

import collections
import json
import time
from random import Random

import pytest

from airflow_ee.emulator import Emulator
from tests.live.notes import SEED, Notes, rounds
from tests.live.tries import Instance, Plan, finish

pytestmark = pytest.mark.slow

EXPORTS = 10
SECONDS = 120
MOMENTS = ("before the request", "before the work", "before the answer", "before the store", "waiting", "the last word", "all at once", "cut")  # fmt: skip


@pytest.fixture(scope="module")
def notes():
    return Notes.asked_for()


@pytest.fixture
def server(tmp_path):
    with Emulator(root=tmp_path / "earth-engine", pending_seconds=0.1, running_seconds=0.3) as emulator:
        yield emulator


@pytest.mark.parametrize("number", rounds("AIRFLOW_EE_EXPORT_ROUNDS", 4))
def test_killed_tries_leave_one_operation_for_each_export(server, tmp_path, notes, number):
    if (SEED, "tries", number) in notes.passed:
        pytest.skip("this round has passed before")
    round_ = Round(server, tmp_path, number)
    killed = round_.play()
    assert killed or round_.moment == "cut"
    assert not server.pending, "every fault has happened"
    round_.check()
    notes.add("tries", number, moment=round_.moment, deferrable=round_.deferrable, kept=round_.kept, killed=killed)


class Round:
    """Ten exports and one moment, all drawn from the round's number."""

    def __init__(self, server, folder, number):
        self.random = Random(f"{SEED} {number}")
        self.server = server
        self.moment = MOMENTS[number % len(MOMENTS)]
        # All forms come to all moments.
        self.deferrable, self.kept = number // len(MOMENTS) % 2 == 1, number // len(MOMENTS) // 2 % 2 == 0
        self.run = f"round-{number}"
        self.victim = self.random.randrange(EXPORTS)
        extra = {"project": "demo-project", "endpoint": server.url, "request_timeout_seconds": 3}
        connection = json.dumps({"conn_type": "earth_engine", "extra": extra})
        self.instances = [
            Instance(
                Plan(
                    folder=folder / str(index), run=self.run, index=index, connection=connection,
                    deferrable=self.deferrable, kept=self.kept,
                    slow_seconds=0.3 if self.moment == "before the store" and index == self.victim else 0.0,
                )
            )
            for index in range(EXPORTS)
        ]  # fmt: skip
        self.pause = self.random.uniform(0, self.length())
        self.due = None
        self.killed = []

    def length(self):
        """Seconds from which the kill's moment is drawn, once its condition holds."""
        return {
            "before the request": 0.15,
            "before the work": 0.4,
            "before the answer": 0.5,
            "before the store": 0.25,
            "waiting": 0.4,
            "the last word": 0.1,
            "all at once": 2.0,
        }.get(self.moment, 0.0)

    def play(self):
        """Lead all to their ends; tells what the killed processes were at."""
        self.inject()
        finish(self.instances, timeout_seconds=SECONDS, look=self.look)
        return self.killed

    def inject(self):
        """Make the moment long enough to be met."""
        match self.moment:
            case "before the work":
                self.server.inject("image:export", *["delay=0.5"] * EXPORTS)
            case "before the answer":
                self.server.inject("image:export", *["stall"] * EXPORTS)
            case "cut":
                cuts = self.random.randrange(1, EXPORTS)
                self.server.inject("image:export", *["lose-response"] * cuts, *["truncate"] * self.random.randrange(3))
                self.server.inject("operations.get", "lose-response", "truncate")

    def look(self):
        """Kill once, when the moment has come."""
        if self.killed or self.moment == "cut" or (self.due is None and not self.reached()):
            return
        self.due = self.due or time.monotonic() + self.pause
        if time.monotonic() < self.due:
            return
        chosen = self.instances if self.moment == "all at once" else self.instances[self.victim : self.victim + 1]
        self.killed = [kind for kind in (instance.kill() for instance in chosen) if kind]
        if not self.killed:
            # It was quicker: another one that is at the same, and sooner.
            self.due, self.pause, self.victim = None, self.pause / 2, (self.victim + 1) % EXPORTS

    def reached(self):
        """Whether what the moment follows has happened."""
        victim = self.instances[self.victim]
        if self.moment in ("before the request", "all at once"):
            return all(instance.kind or instance.done for instance in self.instances)
        if self.moment == "before the work":
            return bool(victim.kind) and self.asked()
        if self.moment == "before the store" and self.kept:
            return (victim.folder.read("storing") or {}).get("operation")
        if self.moment == "the last word":
            ending = [index for index in range(EXPORTS) if self.ending(index)]
            self.victim = self.random.choice(ending) if ending else self.victim
            return bool(ending)
        return bool(self.operations(self.victim))

    def ending(self, index):
        """Whether the operation has ended and its task is about to learn it, or has just learnt it."""
        if self.deferrable:
            return self.instances[index].kind == "resume"
        states = [item["metadata"]["state"] for item in self.operations(index)]
        return self.instances[index].kind == "execute" and states == ["SUCCEEDED"]

    def asked(self):
        """Whether the victim's request is on its way."""
        return any(
            request.method == "image:export" and self.mark(self.victim) in request.body["description"]
            for request in self.server.requests[-10 * EXPORTS :]
        )

    def mark(self, index):
        """What the description of an export begins with."""
        return f"{self.run}-{index}-ae-"

    def operations(self, index):
        """All operations that were started for an export."""
        mark = self.mark(index)
        return [item for item in self.server.operations if item["metadata"]["description"].startswith(mark)]

    def check(self):
        """One operation each, none of them cancelled, and each task returned its own."""
        for index, instance in enumerate(self.instances):
            operations = self.operations(index)
            states = [item["metadata"]["state"] for item in operations]
            assert states == ["SUCCEEDED"], (index, instance.tries, instance.error())
            assert instance.folder.read("result")["operation"] == operations[0]["name"]
            assert operations[0]["metadata"]["description"].endswith("-1"), "no second one was asked for"
        kinds = collections.Counter(kind for instance in self.instances for kind, _ in instance.tries)
        assert kinds["execute"] >= EXPORTS
        failed = [status for instance in self.instances for _, status in instance.tries if status]
        assert failed == [-9] * len(self.killed), "a try ended badly that nobody killed"
