"""Special functions of one number, in double precision.

``digamma``, ``trigamma`` and ``lanczos`` are approximations on purpose: the service's own answers differ from the true values in
the ninth digit, and these are the classical formulas that give them.
"""

from __future__ import annotations

import math

from airflow_ee.emulator.errors import invalid

EULER = 0.5772156649015329
_NEAR_ZERO = 1e-5
_ASYMPTOTIC = 49
_TERMS = 10_000
_GREATEST_ORDER = 1e6
"""Beyond it the series need more terms than that."""

_LANCZOS = (
    0.99999999999999709182, 57.156235665862923517, -59.597960355475491248, 14.136097974741747174, -0.49191381609762019978,
    0.33994649984811888699e-4, 0.46523628927048575665e-4, -0.98374475304879564677e-4, 0.15808870322491248884e-3,
    -0.21026444172410488319e-3, 0.21743961811521264320e-3, -0.16431810653676389022e-3, 0.84418223983852743293e-4,
    -0.26190838401581408670e-4, 0.36899182659531622704e-5,
)  # fmt: skip


def digamma(x: float) -> float:
    """The logarithmic derivative of the gamma function; negative infinity at 0, -1, -2, ...

    >>> round(digamma(100), 9)
    4.600161853
    """
    shift = 0.0
    while not (0 < x <= _NEAR_ZERO or x >= _ASYMPTOTIC):
        if x == 0:
            return -math.inf
        if not math.isfinite(x) or x < -_TERMS:
            return math.nan
        shift -= 1 / x
        x += 1
    if x <= _NEAR_ZERO:
        return shift - EULER - 1 / x
    inverse = 1 / (x * x)
    return shift + math.log(x) - 0.5 / x - inverse * (1 / 12 + inverse * (1 / 120 - inverse / 252))


def trigamma(x: float) -> float:
    """The derivative of :func:`digamma`; infinity at 0, -1, -2, ..."""
    shift = 0.0
    while not (0 < x <= _NEAR_ZERO or x >= _ASYMPTOTIC):
        if x == 0:
            return math.inf
        if not math.isfinite(x) or x < -_TERMS:
            return math.nan
        shift += 1 / (x * x)
        x += 1
    if x <= _NEAR_ZERO:
        return shift + 1 / (x * x)
    inverse = 1 / (x * x)
    return shift + 1 / x + inverse / 2 + inverse / x * (1 / 6 - inverse * (1 / 30 + inverse / 42))


def gamma(x: float) -> float:
    """The gamma function of positive numbers; not a number below.

    >>> gamma(5), gamma(200)
    (24.0, inf)
    """
    if not x > 0:
        return math.nan
    try:
        return math.gamma(x)
    except OverflowError:
        return math.inf


def incomplete_gamma(x: float, a: float) -> float:
    """The regularized lower incomplete gamma function P(a, x).

    >>> round(incomplete_gamma(1, 1), 9)
    0.632120559
    """
    if not (a > 0 and x >= 0):
        return math.nan
    if x == 0:
        return 0.0
    if math.isinf(x):
        return 1.0
    if a > _GREATEST_ORDER:
        raise invalid(f"gammainc: orders beyond {_GREATEST_ORDER:.0f} are not emulated.")
    front = math.exp(-x + a * math.log(x) - math.lgamma(a))
    return front * _series(x, a) if x < a + 1 else 1 - front * _fraction(x, a)


def _series(x: float, a: float) -> float:
    term = total = 1 / a
    for step in range(1, _TERMS):
        term *= x / (a + step)
        total += term
        if abs(term) < abs(total) * 1e-17:
            break
    return total


def _fraction(x: float, a: float) -> float:
    """Legendre's continued fraction of the upper function, by the method of Lentz."""
    tiny = 1e-300
    b = x + 1 - a
    c, d = 1 / tiny, 1 / b
    value = d
    for step in range(1, _TERMS):
        term = -step * (step - a)
        b += 2
        d = 1 / (term * d + b or tiny)
        c = b + term / c or tiny
        value *= c * d
        if abs(c * d - 1) < 1e-16:
            break
    return value


def inverse_erf(x: float) -> float:
    """The inverse of the error function; infinite at -1 and 1, not a number beyond.

    >>> round(inverse_erf(0.001), 9)
    0.000886227
    """
    if not -1 <= x <= 1:
        return math.nan
    if abs(x) == 1:
        return math.copysign(math.inf, x)
    size = abs(x)
    logarithm = math.log1p(-x * x)
    middle = 2 / (math.pi * 0.147) + logarithm / 2
    guess = math.sqrt(max(math.sqrt(middle * middle - logarithm / 0.147) - middle, 0.0))
    for _ in range(4):
        # Near 1 the complement keeps the digits that 1 - erf would lose.
        error = math.erf(guess) - size if size < 0.5 else (1 - size) - math.erfc(guess)
        step = error * math.sqrt(math.pi) / 2 * math.exp(guess * guess)
        guess -= step / (1 + guess * step)
    return math.copysign(guess, x)


def inverse_erfc(x: float) -> float:
    """The inverse of the complementary error function; infinite at 0 and 2."""
    return inverse_erf(1 - x)


def lanczos(x: float) -> float:
    """The series of the Lanczos approximation of the gamma function.

    >>> round(lanczos(0), 9)
    32.94631868
    """
    total = 0.0
    for index in range(len(_LANCZOS) - 1, 0, -1):
        below = x + index
        total += _LANCZOS[index] / below if below else math.copysign(math.inf, _LANCZOS[index])
    return total + _LANCZOS[0]
