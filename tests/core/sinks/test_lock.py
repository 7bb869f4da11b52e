"""One holder at a time; whoever is gone loses the lock; whoever was only slow finds out."""

import json
import threading

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from airflow_ee.core.sinks.base import Location
from airflow_ee.core.sinks.lock import ExclusiveLock, LockLost, LockSettings


class Clock:
    """Time that passes only while somebody waits, or when it is told to."""

    def __init__(self):
        self.now, self.slept = 0.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture(params=["disk", "memory"])
def folder(request, tmp_path):
    MemoryFileSystem.store.clear()
    if request.param == "disk":
        return Location(LocalFileSystem(), str(tmp_path / "lock"), str(tmp_path / "lock"))
    return Location(fsspec.filesystem("memory"), "/lock", "memory://lock")


def lock_of(folder, clock, **settings):
    usual = {"expires_after_seconds": 60, "wait_seconds": 600, "poll_seconds": 1}
    return ExclusiveLock(folder, LockSettings(**{**usual, **settings}), clock=clock, sleep=clock.sleep)


def names(folder):
    return sorted(path.rpartition("/")[2] for path in folder.filesystem.find(folder.path))


def test_a_free_lock_is_had_at_once_and_given_back(folder):
    clock = Clock()
    for count in range(1, 4):
        with lock_of(folder, clock).held() as held:
            held.keep()
            assert names(folder) == [f"lock-{count:08d}"], "files of earlier holders are removed"
    assert clock.slept == []


def test_who_waits_has_the_lock_once_it_is_given_back(folder):
    clock = Clock()
    holding = lock_of(folder, clock).held()
    holding.__enter__()

    def sleep(seconds):
        clock.sleep(seconds)
        if clock.now == 5:
            holding.__exit__(None, None, None)

    with ExclusiveLock(folder, LockSettings(poll_seconds=1), clock=clock, sleep=sleep).held():
        assert clock.now == 5


def test_a_lock_without_a_sign_of_life_expires(folder):
    clock = Clock()
    dead = lock_of(folder, clock).held()
    held = dead.__enter__()
    with lock_of(folder, clock).held() as second:
        assert clock.now == 60
        second.keep()
        with pytest.raises(LockLost, match="no sign of life for 60 s"):
            held.keep()
        held.release()
        second.keep()


def test_signs_of_life_keep_a_lock_however_long_it_takes(folder):
    clock = Clock()
    with lock_of(folder, clock).held() as held:

        def sleep(seconds):
            clock.sleep(seconds)
            held.keep()

        waiting = ExclusiveLock(
            folder, LockSettings(expires_after_seconds=60, wait_seconds=500, poll_seconds=10), clock=clock, sleep=sleep
        )
        with pytest.raises(TimeoutError, match=r"locked by .+, process \d+, waited 500 s"), waiting.held():
            pass
    assert clock.now == 500


def test_a_file_that_its_writer_did_not_finish_expires_too(folder):
    clock = Clock()
    (folder / "lock-00000007").filesystem.makedirs(folder.path, exist_ok=True)
    for content in (b"", b'{"hold', b"[1]"):
        number = int(names(folder)[-1].removeprefix("lock-")) if names(folder) else 6
        folder.filesystem.pipe_file((folder / f"lock-{number + 1:08d}").path, content)
        begin = clock.now
        with (
            pytest.raises(TimeoutError, match="locked by somebody who left no name"),
            lock_of(folder, clock, wait_seconds=30).held(),
        ):
            pass
        with lock_of(folder, clock).held():
            assert clock.now - begin == 90


def test_of_many_who_find_a_lock_expired_one_has_it(folder):
    expired = Clock()
    lock_of(folder, expired).held().__enter__()
    inside, most, failures = [], [], []
    barrier = threading.Barrier(8)

    def run():
        barrier.wait()
        try:
            with ExclusiveLock(folder, LockSettings(expires_after_seconds=1, poll_seconds=0.002)).held() as held:
                inside.append(1)
                most.append(len(inside))
                for _ in range(3):
                    held.keep()
                inside.pop()
        except LockLost as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert most == [1] * 8
    assert len(names(folder)) == 1


def test_a_number_that_was_taken_and_removed_meanwhile_is_not_enough(folder, monkeypatch):
    """Whoever looked long ago must not hold number 2 while others are at number 3."""
    clock = Clock()
    with lock_of(folder, clock).held():
        pass
    slow = lock_of(folder, clock)
    stale = slow._last()
    for _ in range(2):
        with lock_of(folder, clock).held():
            pass
    looks = iter([stale])
    last = slow._last
    monkeypatch.setattr(slow, "_last", lambda: next(looks, None) or last())
    with slow.held():
        assert names(folder) == ["lock-00000004"]


def test_the_lock_tells_who_holds_it(folder):
    with lock_of(folder, Clock()).held():
        told = json.loads(folder.filesystem.cat_file((folder / "lock-00000001").path))
    assert "process" in told["holder"]
    assert told["released"] is False


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"expires_after_seconds": 0}, "must be above 0, got 0 and 0.1"),
        ({"poll_seconds": -1}, "must be above 0"),
        ({"wait_seconds": -1}, "wait_seconds must not be below 0, got -1"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        LockSettings(**settings)
