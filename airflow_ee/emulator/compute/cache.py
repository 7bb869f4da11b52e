"""Answers that were given before, up to a number of bytes; the longest unused ones go first."""

from __future__ import annotations

import threading
from collections import OrderedDict

from airflow_ee.emulator.api.calls import Answer


class AnswerCache:
    """Answers by a key that says all that they depend on.

    >>> cache = AnswerCache(max_bytes=10)
    >>> cache.put("a", Answer(b"12345678")); cache.put("b", Answer(b"1234"))
    >>> cache.get("a"), cache.get("b").body
    (None, b'1234')
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: str) -> Answer | None:
        """The answer, if it is still known."""
        with self._lock:
            answer = self._answers.get(key)
            if answer is not None:
                self._answers.move_to_end(key)
            return answer

    def put(self, key: str, answer: Answer) -> None:
        """Remember an answer; one that is larger than the whole cache is not."""
        if len(answer.body) > self._max_bytes:
            return
        with self._lock:
            before = self._answers.pop(key, None)
            self._bytes += len(answer.body) - (len(before.body) if before else 0)
            self._answers[key] = answer
            while self._bytes > self._max_bytes:
                _, oldest = self._answers.popitem(last=False)
                self._bytes -= len(oldest.body)
