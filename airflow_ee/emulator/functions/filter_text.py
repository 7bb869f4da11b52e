"""Filters written as text: ``height > 3 and (kind == "tree" || not dead == 1)``.

The grammar is that of the service's documentation: comparisons of a property with a literal, or of two properties; ``!``, ``not``,
``&&``, ``and``, ``||``, ``or``, parentheses, and ``in`` with a list of literals.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.values.filters import Either, Every, FilterValue, Operand, Opposite

Compare = Callable[[str, Operand, Operand], FilterValue]

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
    r"|(?P<text>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')"
    r"|(?P<sign>>=|<=|==|!=|&&|\|\||[><!()\[\],])"
    r"|(?P<name>[A-Za-z_.][\w.:\-]*))"
)
_COMPARISONS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte", "==": "eq", "!=": "neq"}
_WORDS = {"and": "&&", "or": "||", "not": "!", "in": "in"}
MAX_DEPTH = 50


def parse(text: str, compare: Compare) -> FilterValue:
    """The filter that a text stands for; ``compare`` makes a comparison by its short name."""
    reader = _Reader(text, compare)
    found = reader.alternatives(0)
    if reader.tokens:
        raise reader.problem()
    return found


class _Reader:
    """Recursive descent, to a limited depth."""

    def __init__(self, text: str, compare: Compare) -> None:
        self.text = text
        self.compare = compare
        self.tokens = self._split(text)

    def _split(self, text: str) -> list[tuple[str, str]]:
        tokens, position = [], 0
        while text[position:].strip():
            found = _TOKEN.match(text, position)
            if found is None:
                raise self.problem()
            kind = str(found.lastgroup)
            word = found[kind]
            is_word = kind == "name" and word.lower() in _WORDS
            tokens.append(("sign", _WORDS[word.lower()]) if is_word else (kind, word))
            position = found.end()
        return tokens

    def problem(self) -> Exception:
        """The complaint about the text."""
        return invalid(f"Filter.expression: Invalid filter string '{self.text[:200]}'.")

    def _take(self, *signs: str) -> str | None:
        if self.tokens and self.tokens[0][0] == "sign" and self.tokens[0][1] in signs:
            return self.tokens.pop(0)[1]
        return None

    def _expect(self, sign: str) -> None:
        if self._take(sign) is None:
            raise self.problem()

    def alternatives(self, depth: int) -> FilterValue:
        """One or more filters of which one must hold."""
        parts = [self._conjunction(depth)]
        while self._take("||"):
            parts.append(self._conjunction(depth))
        return parts[0] if len(parts) == 1 else Either(parts)

    def _conjunction(self, depth: int) -> FilterValue:
        parts = [self._term(depth)]
        while self._take("&&"):
            parts.append(self._term(depth))
        return parts[0] if len(parts) == 1 else Every(parts)

    def _term(self, depth: int) -> FilterValue:
        if depth > MAX_DEPTH:
            raise self.problem()
        if self._take("!"):
            return Opposite(self._term(depth + 1))
        if self._take("("):
            inner = self.alternatives(depth + 1)
            self._expect(")")
            return inner
        return self._comparison()

    def _comparison(self) -> FilterValue:
        left = self._operand()
        if self._take("in"):
            return self.compare("listContains", Operand(value=self._list()), left)
        sign = self._take(*_COMPARISONS)
        if sign is None:
            raise self.problem()
        right = self._operand()
        if left.field is None and right.field is None:
            raise self.problem()
        return self.compare(_COMPARISONS[sign], left, right)

    def _list(self) -> list[Any]:
        closing = {"(": ")", "[": "]"}[self._take("(", "[") or self._fail()]
        values = [self._operand().value]
        while self._take(","):
            values.append(self._operand().value)
        self._expect(closing)
        if any(value is None for value in values):
            raise self.problem()
        return values

    def _fail(self) -> str:
        raise self.problem()

    def _operand(self) -> Operand:
        if not self.tokens:
            raise self.problem()
        kind, word = self.tokens.pop(0)
        if kind == "name":
            return Operand(word)
        if kind == "text":
            return Operand(value=re.sub(r"\\(.)", r"\1", word[1:-1]))
        if kind == "number":
            number = float(word)
            return Operand(value=int(number) if number.is_integer() and not set(word) & set(".eE") else number)
        raise self.problem()
