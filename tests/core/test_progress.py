"""What is told of a job while it runs: lines in a log, or a bar on a terminal."""

import io
import logging

import pytest

from airflow_ee.core.progress import BAR_CELLS, Progress


class Clock:
    """Seconds that a test moves on."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    """A terminal as far as ``isatty`` goes."""

    def isatty(self):
        return True


def fetched(progress: Progress) -> None:
    progress.answered(1, 1_000_000)
    progress.finished()


def followed(progress: Progress, clock: Clock, *, tiles: int, in_flight: int) -> None:
    """A tile each second, until the end."""
    for _ in range(tiles):
        clock.now += 1
        fetched(progress)
        progress.tell(in_flight)
    progress.close()


def test_lines_come_every_few_seconds_and_say_what_is_left(caplog: pytest.LogCaptureFixture):
    clock = Clock()
    progress = Progress(total=40, clock=clock, terminal=io.StringIO())
    with caplog.at_level(logging.INFO):
        followed(progress, clock, tiles=20, in_flight=7)
    assert len(caplog.messages) == 4
    assert caplog.messages[-1] == "20 of 40 tiles, 1.0 MB/s, 7 requests at once, 0 repeated, 20 s left"


def test_a_terminal_gets_one_line_that_is_drawn_anew_and_the_log_none(caplog: pytest.LogCaptureFixture):
    clock, terminal = Clock(), Terminal()
    progress = Progress(total=4, clock=clock, terminal=terminal)
    with caplog.at_level(logging.INFO):
        followed(progress, clock, tiles=4, in_flight=2)
        progress.close()
    drawn = terminal.getvalue()
    assert caplog.messages == []
    assert drawn.count("\n") == 1
    assert drawn.endswith(f"[{'#' * BAR_CELLS}] 4 of 4 tiles\x1b[K\n")
    assert "2 of 4 tiles, 1.0 MB/s, 2 requests at once, 0 repeated, 2 s left" in drawn


def test_a_terminal_that_was_never_drawn_on_stays_clean():
    terminal = Terminal()
    progress = Progress(terminal=terminal)
    progress.close()
    assert terminal.getvalue() == ""


def test_what_was_there_counts_as_done_and_not_as_fetched():
    progress = Progress(total=10)
    progress.was_there(6)
    fetched(progress)
    summary = progress.summary()
    assert (summary["tiles"], summary["tiles_resumed"], summary["requests"]) == (1, 6, 1)
