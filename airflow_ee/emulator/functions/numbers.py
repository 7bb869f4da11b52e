"""Numbers: whole ones stay whole where the operation allows it, the others are doubles."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.elementwise import (
    MAX_WHOLE,
    Operation,
    Values,
    clamped,
    register,
)
from airflow_ee.emulator.functions.formula import Step, parsed
from airflow_ee.emulator.functions.promote import as_number, cannot, registry
from airflow_ee.emulator.session import Session
from airflow_ee.emulator.values.numbers import Long, java_text

_CONSTANTS = {"PI": math.pi, "E": math.e}


def as_values(number: float) -> Values:
    """A number as an array without axes."""
    whole = isinstance(number, int) and abs(number) < MAX_WHOLE
    return np.asarray(number, dtype=np.int64 if whole else np.float64)


def as_scalar(values: Values) -> float:
    """The number in an array without axes."""
    value: float = values.item()
    return Long(value) if isinstance(value, int) else value


def _binary(name: str, operation: Operation) -> Callable[[float, float], float]:
    def apply(left: float, right: float) -> float:
        return as_scalar(operation(name, as_values(left), as_values(right), precise=True))

    return apply


def _unary(name: str, operation: Operation) -> Callable[[float], float]:
    def apply(input: float) -> float:
        return as_scalar(operation(name, as_values(input)))

    return apply


def _cast(dtype: str) -> Callable[[float], float]:
    """Numbers lose their fraction, and stop at the ends of the type's range."""

    def apply(input: float) -> float:
        values = as_values(input)
        if dtype.startswith("float"):
            with np.errstate(over="ignore"):  # beyond a float's range lies infinity
                return float(values.astype(dtype))
        return as_scalar(clamped(np.trunc(values) if values.dtype.kind == "f" else values, dtype))

    return apply


register("Number", _binary, _unary, _cast)


@registry.implements("Number.clamp")
def clamp(number: float, min: float, max: float) -> float:
    """Within two limits."""
    if min > max:
        raise invalid(f"Number.clamp: min ({java_text(min)}) must not be greater than max ({java_text(max)}).")
    return min if number < min else max if number > max else number


@registry.implements("Number.unitScale")
def unit_scale(number: float, min: float, max: float) -> float:
    """Where a number lies between two others, which become 0 and 1; nothing is cut off."""
    return 0.0 if min == max else (number - min) / (max - min)


@registry.implements("Number.parse")
def parse_number(input: Any, radix: int = 10) -> float:
    """A number from text; numbers are taken for their own text."""
    text = input if isinstance(input, str) else java_text(as_number(input))
    problem = invalid(f"Number.parse: Cannot parse '{text}' as a number.")
    if radix != 10:
        if not 2 <= radix <= 36:
            raise invalid(f"Number.parse: Radix {radix} must be from 2 to 36.")
        if not re.fullmatch(r"[+-]?[0-9A-Za-z]+", text):
            raise problem
        try:
            return Long(int(text, radix))
        except ValueError:
            raise problem from None
    return _plain(text, problem)


def _plain(text: str, problem: Exception) -> float:
    if re.fullmatch(r"[+-]?\d{1,400}", text):  # Python refuses to read thousands of digits; doubles end at 309
        whole = int(text)
        return Long(whole) if abs(whole) < MAX_WHOLE else float(whole)
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?Infinity|NaN", text):
        return float(text)
    raise problem


@registry.implements("Number.expression")
def expression(expression: str, session: Session, vars: dict[str, Any] | None = None) -> float:
    """A formula of named numbers, with the functions of Number."""
    stack: list[Any] = []
    for step in parsed(expression):
        operands = stack[len(stack) - step.count :] if step.count else []
        del stack[len(stack) - step.count :]
        stack.append(_run(step, operands, vars or {}, session))
    result: float = as_number(stack[-1])
    return result


def _run(step: Step, operands: list[Any], variables: Mapping[str, Any], session: Session) -> Any:
    match step.kind:
        case "number":
            return step.value
        case "name":
            return _variable(step.value, variables)
        case "dot":
            return _member(operands[0], step.value)
        case "choose":
            return operands[1] if operands[0] else operands[2]
        case "operator" if step.value == "negate":
            return -as_number(operands[0])
        case "operator" if step.value == "keep":
            return operands[0]
        case "operator" | "call":
            return _call(step.value, operands, session)
    raise invalid(f"Number.expression: {step.kind} is not emulated.")


def _variable(name: str, variables: Mapping[str, Any]) -> Any:
    if name in variables:
        return variables[name]
    if name == "Math":
        return _CONSTANTS
    raise invalid(f"Number.expression: Unknown variable '{name}'.")


def _member(owner: Any, name: str) -> Any:
    if not isinstance(owner, Mapping):
        raise cannot(owner, "Dictionary")
    if name not in owner:
        raise invalid(f"Number.expression: Dictionary does not contain key: '{name}'.")
    return owner[name]


def _call(name: str, operands: list[Any], session: Session) -> Any:
    algorithm = f"Number.{name}"
    names = session.registry.argument_names(algorithm)
    if len(operands) > len(names):
        raise invalid(f"{algorithm}: takes {len(names)} arguments, got {len(operands)}.")
    return session.call(algorithm, dict(zip(names, operands, strict=False)))
