"""The description at the beginning of an NPY file, read as the few forms that numbers have there, and not as Python.

A general reader of Python's literals warns of what it does not like, and gives up on deep nesting in ways of its own; a server
must not be able to cause either.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

__all__ = ["NpyHeader", "parse_header"]

_TOKEN = re.compile(
    r"""\s*(?:(?P<mark>[{}\[\]():,])|'(?P<single>(?:[^'\\]|\\.)*)'|"(?P<double>(?:[^"\\]|\\.)*)\""""
    r"""|(?P<number>[0-9]{1,10})(?!\w)|(?P<truth>True|False)(?!\w))""",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|([\\'\"])|(.))", re.DOTALL)
_SHOWN = 60
Kind = Literal["mark", "number", "truth"]


@dataclass(frozen=True, slots=True)
class NpyHeader:
    """What an NPY file says of its array."""

    fields: tuple[tuple[str, str], ...]
    """Name and type of each, as they are written."""
    fortran_order: bool
    shape: tuple[int, ...]


def parse_header(text: str) -> NpyHeader:
    """Read the description of a structured array, in linear time.

    Raises
    ------
    ValueError
        When it is anything else.

    Examples
    --------
    >>> parse_header("{'descr': [('NDVI', '<i2')], 'fortran_order': False, 'shape': (3, 4), }")
    NpyHeader(fields=(('NDVI', '<i2'),), fortran_order=False, shape=(3, 4))
    """
    reader = _Reader(text)
    fields: tuple[tuple[str, str], ...] | None = None
    order: bool | None = None
    shape: tuple[int, ...] | None = None
    for _ in reader.until("{", "}"):
        key = reader.text()
        reader.mark(":")
        if key == "descr" and fields is None:
            fields = reader.fields()
        elif key == "fortran_order" and order is None:
            order = reader.take("truth") == "True"
        elif key == "shape" and shape is None:
            shape = tuple(int(reader.take("number")) for _ in reader.until("(", ")"))
        else:
            raise ValueError(f"unexpected {key[:_SHOWN]!r}")
    reader.end()
    if fields is None or order is None or shape is None:
        raise ValueError("without descr, fortran_order and shape")
    return NpyHeader(fields, order, shape)


class _Reader:
    """Goes from token to token."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def take(self, kind: Kind) -> str:
        """The next token, which has to be of this kind."""
        found = _TOKEN.match(self._text, self._at)
        if found is None or found[kind] is None:
            raise ValueError(f"unexpected {self._shown()}")
        self._at = found.end()
        return str(found[kind])

    def text(self) -> str:
        """The next token, which has to be a text."""
        found = _TOKEN.match(self._text, self._at)
        if found is None or (found["single"] is None and found["double"] is None):
            raise ValueError(f"unexpected {self._shown()}")
        self._at = found.end()
        return _unescaped(found["double"] if found["single"] is None else found["single"])

    def mark(self, expected: str) -> None:
        """Pass one mark."""
        at = self._at
        if self.take("mark") != expected:
            self._at = at
            raise ValueError(f"unexpected {self._shown()}")

    def passes(self, mark: str) -> bool:
        """Pass a mark if it is next; whether it was."""
        found = _TOKEN.match(self._text, self._at)
        if found is None or found["mark"] != mark:
            return False
        self._at = found.end()
        return True

    def until(self, first: str, last: str) -> _Items:
        """What lies between two marks, apart by commas; one may come after the last item."""
        self.mark(first)
        return _Items(self, last)

    def fields(self) -> tuple[tuple[str, str], ...]:
        """Name and type of each field."""
        at = self._at
        try:
            return tuple(self._field() for _ in self.until("[", "]"))
        except ValueError:
            self._at = at
            raise ValueError(f"expected one number a band and pixel, got {self._shown()}") from None

    def end(self) -> None:
        """Nothing may follow."""
        if self._text[self._at :].strip():
            raise ValueError(f"unexpected {self._shown()}")

    def _field(self) -> tuple[str, str]:
        name, kind = (self.text() for _ in self.until("(", ")"))
        return name, kind

    def _shown(self) -> str:
        return repr(self._text[self._at : self._at + _SHOWN])


class _Items:
    """As many steps as there are items; whoever takes one reads the item."""

    def __init__(self, reader: _Reader, last: str) -> None:
        self._reader, self._last, self._begun = reader, last, False

    def __iter__(self) -> _Items:
        return self

    def __next__(self) -> None:
        reader = self._reader
        if self._begun and not reader.passes(","):
            reader.mark(self._last)
            raise StopIteration
        if reader.passes(self._last):
            raise StopIteration
        self._begun = True


def _unescaped(text: str) -> str:
    plain = _ESCAPE.sub(_character, text) if "\\" in text else text
    if not plain.isprintable():
        raise ValueError(f"unexpected characters in {plain[:_SHOWN]!r}")
    return plain


def _character(found: re.Match[str]) -> str:
    if found[5] is not None:
        raise ValueError(f"unexpected {found[0]!r}")
    return found[4] or chr(int(found[1] or found[2] or found[3], 16))
