"""Operations on numbers, one by one: the same tables serve Number and Array.

Arrays of whole numbers are int64 here, the others float32 or float64. What comes out is whole where both operands are, and as
precise as the more precise of them elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions import special
from airflow_ee.emulator.functions.promote import registry

Values = NDArray[Any]
Kind = Literal["common", "quotient", "real", "truth", "bits"]

MAX_WHOLE = 2**63
_FLOAT32 = np.dtype("float32")


@dataclass(frozen=True, slots=True)
class Operation:
    """What is computed, and of which kind the result is.

    ``common`` results have the operands' common type; ``quotient`` and ``real`` ones are never whole, and of whole operands
    float32 and float64 respectively; ``truth`` is 0 or 1; ``bits`` need whole operands.
    """

    compute: Callable[..., Values]
    kind: Kind

    def __call__(self, name: str, *operands: Values, precise: bool = False) -> Values:
        """The result for operands of one shape; ``precise`` keeps quotients of whole numbers in double."""
        whole = all(each.dtype.kind == "i" for each in operands)
        if self.kind == "bits" and not whole:
            raise invalid(f"{name}: Bitwise operands must be integer only.")
        if self.kind == "common" and whole:
            return _whole(name, self.compute, operands)
        single = not whole and all(each.dtype == _FLOAT32 or each.dtype.kind == "i" for each in operands)
        if self.kind not in ("bits", "truth"):
            operands = tuple(each.astype(np.float64) for each in operands)
        with np.errstate(all="ignore"):
            result: Values = np.asarray(self.compute(*operands))
        if self.kind in ("bits", "truth"):
            return result.astype(np.int64)
        narrow = single or (whole and self.kind == "quotient" and not precise)
        with np.errstate(over="ignore"):
            return result.astype(np.float32) if narrow else result


def _whole(name: str, compute: Callable[..., Values], operands: tuple[Values, ...]) -> Values:
    """Whole numbers stay whole; how the service treats those beyond 64 bits is not documented."""
    with np.errstate(all="ignore"):
        size = np.abs(np.asarray(compute(*(each.astype(np.float64) for each in operands)), dtype=np.float64))
        if (size >= MAX_WHOLE).any():
            raise invalid(f"{name}: whole numbers beyond 64 bits are not emulated.")
        return np.asarray(compute(*operands)).astype(np.int64)


def _quotient(left: Values, right: Values) -> Values:
    """Division by zero gives 0, as documented."""
    return np.where(right == 0, 0.0, left / np.where(right == 0, 1.0, right))


def _remainder(left: Values, right: Values) -> Values:
    if (right == 0).any():
        raise invalid("mod: the remainder of a division by zero is not emulated.")
    remainder: Values = np.fmod(left, right)
    return remainder


def _shifted(shift: Callable[[Values, Values], Values]) -> Callable[[Values, Values], Values]:
    def compute(left: Values, right: Values) -> Values:
        if ((right < 0) | (right > 63)).any():
            raise invalid("Shifts by less than 0 or more than 63 bits are not emulated.")
        return shift(left, right)

    return compute


def _each(function: Callable[..., float], count: int = 1) -> Callable[..., Values]:
    scalar = np.frompyfunc(lambda *values: function(*map(float, values)), count, 1)
    return lambda *operands: np.asarray(scalar(*operands), dtype=np.float64)


def _first(left: Values, right: Values) -> Values:
    first: Values = np.broadcast_arrays(left, right)[0]
    return first


def _first_nonzero(left: Values, right: Values) -> Values:
    chosen: Values = np.where(left != 0, left, right)
    return chosen


def _nearest(values: Values) -> Values:
    """Halves go up, as in Java."""
    rounded: Values = np.floor(values + 0.5) if values.dtype.kind == "f" else values
    return rounded


def _bit_count(values: Values) -> Values:
    counts = np.frompyfunc(lambda value: (int(value) & (2**64 - 1)).bit_count(), 1, 1)
    return np.asarray(counts(values), dtype=np.int64)


def _unchanged_or(function: Callable[[Values], Values]) -> Callable[[Values], Values]:
    return lambda values: np.asarray(function(values)) if values.dtype.kind == "f" else values


BINARY: dict[str, Operation] = {
    "add": Operation(np.add, "common"),
    "subtract": Operation(np.subtract, "common"),
    "multiply": Operation(np.multiply, "common"),
    "divide": Operation(_quotient, "quotient"),
    "mod": Operation(_remainder, "common"),
    "pow": Operation(np.power, "quotient"),
    "min": Operation(np.minimum, "common"),
    "max": Operation(np.maximum, "common"),
    "first": Operation(_first, "common"),
    "firstNonZero": Operation(_first_nonzero, "common"),
    # The vector is [left, right]: the documentation's examples have x on the left, unlike the function of that name in C.
    "atan2": Operation(lambda left, right: np.arctan2(right, left), "real"),
    "hypot": Operation(np.hypot, "real"),
    "gammainc": Operation(_each(special.incomplete_gamma, 2), "real"),
    "eq": Operation(np.equal, "truth"),
    "neq": Operation(np.not_equal, "truth"),
    "lt": Operation(np.less, "truth"),
    "lte": Operation(np.less_equal, "truth"),
    "gt": Operation(np.greater, "truth"),
    "gte": Operation(np.greater_equal, "truth"),
    "and": Operation(np.logical_and, "truth"),
    "or": Operation(np.logical_or, "truth"),
    "bitwiseAnd": Operation(np.bitwise_and, "bits"),
    "bitwiseOr": Operation(np.bitwise_or, "bits"),
    "bitwiseXor": Operation(np.bitwise_xor, "bits"),
    "leftShift": Operation(_shifted(np.left_shift), "bits"),
    "rightShift": Operation(_shifted(np.right_shift), "bits"),
}
UNARY: dict[str, Operation] = {
    "abs": Operation(np.abs, "common"),
    "signum": Operation(np.sign, "common"),
    "floor": Operation(_unchanged_or(np.floor), "common"),
    "ceil": Operation(_unchanged_or(np.ceil), "common"),
    "round": Operation(_nearest, "common"),
    "sqrt": Operation(np.sqrt, "real"),
    "cbrt": Operation(np.cbrt, "real"),
    "exp": Operation(np.exp, "real"),
    "log": Operation(np.log, "real"),
    "log10": Operation(np.log10, "real"),
    "sin": Operation(np.sin, "real"),
    "cos": Operation(np.cos, "real"),
    "tan": Operation(np.tan, "real"),
    "asin": Operation(np.arcsin, "real"),
    "acos": Operation(np.arccos, "real"),
    "atan": Operation(np.arctan, "real"),
    "sinh": Operation(np.sinh, "real"),
    "cosh": Operation(np.cosh, "real"),
    "tanh": Operation(np.tanh, "real"),
    "gamma": Operation(_each(special.gamma), "real"),
    "digamma": Operation(_each(special.digamma), "real"),
    "trigamma": Operation(_each(special.trigamma), "real"),
    "lanczos": Operation(_each(special.lanczos), "real"),
    "erf": Operation(_each(math.erf), "real"),
    "erfc": Operation(_each(math.erfc), "real"),
    "erfInv": Operation(_each(special.inverse_erf), "real"),
    "erfcInv": Operation(_each(special.inverse_erfc), "real"),
    "not": Operation(np.logical_not, "truth"),
    "bitwiseNot": Operation(np.invert, "bits"),
    "bitCount": Operation(_bit_count, "bits"),
}
OLD_NAMES = {
    "bitwise_and": "bitwiseAnd", "bitwise_or": "bitwiseOr", "bitwise_xor": "bitwiseXor", "bitwise_not": "bitwiseNot",
    "left_shift": "leftShift", "right_shift": "rightShift", "first_nonzero": "firstNonZero",
}  # fmt: skip
CASTS: dict[str, str] = {
    "int8": "int8", "toInt8": "int8", "uint8": "uint8", "toUint8": "uint8", "byte": "uint8", "toByte": "uint8",
    "int16": "int16", "toInt16": "int16", "short": "int16", "toShort": "int16", "uint16": "uint16", "toUint16": "uint16",
    "int32": "int32", "toInt32": "int32", "int": "int32", "toInt": "int32", "uint32": "uint32", "toUint32": "uint32",
    "int64": "int64", "toInt64": "int64", "long": "int64", "toLong": "int64", "float": "float32", "toFloat": "float32",
    "double": "float64", "toDouble": "float64",
}  # fmt: skip


def clamped(values: Values, dtype: str) -> Values:
    """Whole-valued numbers within the range of a type, as int64; what is no number becomes 0."""
    limits = np.iinfo(dtype)
    if values.dtype.kind == "i":
        return np.clip(values, max(limits.min, -MAX_WHOLE), limits.max).astype(np.int64)
    # The greatest int64 has no double, so the comparison comes before the conversion.
    high, low = values >= float(limits.max), values <= float(limits.min)
    middle = np.where(high | low | np.isnan(values), 0, values).astype(np.int64)
    return np.where(high, limits.max, np.where(low, limits.min, middle))


Maker = Callable[[str, Operation], Callable[..., Any]]


def register(family: str, binary: Maker, unary: Maker, cast: Callable[[str], Callable[..., Any]]) -> None:
    """Declare every operation and cast, under its old names too, as algorithms of a family of values."""
    for name in (*BINARY, *UNARY, *OLD_NAMES):
        known, make = OLD_NAMES.get(name, name), binary
        operation = BINARY.get(known)
        if operation is None:
            operation, make = UNARY[known], unary
        registry.add(f"{family}.{name}", make(f"{family}.{name}", operation))
    for name, dtype in CASTS.items():
        registry.add(f"{family}.{name}", cast(dtype))
