"""The functions that make reducers, and those that change and join them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import as_number, registry, texts
from airflow_ee.emulator.values.image import Image
from airflow_ee.emulator.values.reducers import Kernel, Output, Reducer, combined, for_each, grouped, repeated, split
from airflow_ee.emulator.values.reducers.collectors import COUNTERS, Frequencies, to_collection, to_list
from airflow_ee.emulator.values.reducers.correlations import CORRELATIONS, kendalls_correlation
from airflow_ee.emulator.values.reducers.covariances import covariance, for_each_element
from airflow_ee.emulator.values.reducers.histograms import Histogram, bucket_count, least_width
from airflow_ee.emulator.values.reducers.order import ENDS, extreme
from airflow_ee.emulator.values.reducers.quantiles import IntervalMean, Mode, Quantiles, quantiles
from airflow_ee.emulator.values.reducers.regressions import linear_regression, ridge_regression, robust_regression
from airflow_ee.emulator.values.reducers.relations import LINEAR_FIT
from airflow_ee.emulator.values.reducers.spatial_median import geometric_median
from airflow_ee.emulator.values.reducers.statistics import STATISTICS
from airflow_ee.emulator.values.reducers.tables import AutoHistogram, disaggregated, fixed_histogram, fixed_pairs

PLAIN: dict[str, Kernel] = {
    **STATISTICS,
    **ENDS,
    **COUNTERS,
    **CORRELATIONS,
    "linearFit": LINEAR_FIT,
    "covariance": covariance("covariance", centred=False),
    "centeredCovariance": covariance("centeredCovariance", centred=True),
    "frequencyHistogram": Frequencies("Reducer.frequencyHistogram", (Output("histogram"),)),
    "and": STATISTICS["allNonZero"],
    "or": STATISTICS["anyNonZero"],
}
"""Kernels of the reducers that take no arguments."""


def _maker(name: str) -> Callable[[], Reducer]:
    def make() -> Reducer:
        return Reducer.of(PLAIN[name])

    make.__doc__ = f"Reducer.{name}."
    return make


for _name in PLAIN:
    registry.add(f"Reducer.{_name}", _maker(_name))


@registry.implements("Reducer.minMax")
def min_max() -> Reducer:
    """The least and the greatest value."""
    both = combined(Reducer.of(extreme("min")), Reducer.of(extreme("max")), shared=True)
    return both.described("Reducer.minMax")


@registry.implements("Reducer.min")
def least(num_inputs: int = 1) -> Reducer:
    """The least value, and what the other inputs are there."""
    return _extreme("min", num_inputs)


@registry.implements("Reducer.max")
def greatest(num_inputs: int = 1) -> Reducer:
    """The greatest value, and what the other inputs are there."""
    return _extreme("max", num_inputs)


def _extreme(name: Literal["min", "max"], inputs: int) -> Reducer:
    if inputs < 1:
        raise invalid(f"Reducer.{name}: numInputs must be at least 1, got {inputs}.")
    return Reducer.of(extreme(name, inputs))


@registry.implements("Reducer.median")
def median(
    max_buckets: int | None = None,  # noqa: ARG001 -- no histogram is made: every value is kept
    min_bucket_width: float | None = None,  # noqa: ARG001 -- as above
    max_raw: int | None = None,  # noqa: ARG001 -- as above
) -> Reducer:
    """The value in the middle."""
    return Reducer.of(Quantiles("Reducer.median", (Output("median"),)))


@registry.implements("Reducer.percentile")
def percentile(
    percentiles: list[Any],
    output_names: list[Any] | None = None,
    max_buckets: int | None = None,  # noqa: ARG001 -- no histogram is made: every value is kept
    min_bucket_width: float | None = None,  # noqa: ARG001 -- as above
    max_raw: int | None = None,  # noqa: ARG001 -- as above
) -> Reducer:
    """Percentiles from 0 to 100, named ``p10`` and so on unless names are given."""
    if not percentiles:
        raise invalid("Reducer.percentile: at least one percentile is needed.")
    shares = [float(as_number(each)) for each in percentiles]
    names = texts(output_names) if output_names is not None else [f"p{share:g}" for share in shares]
    if len(names) != len(shares):
        raise invalid(f"Reducer.percentile: {len(names)} outputNames for {len(shares)} percentiles.")
    kernel = quantiles("Reducer.percentile", shares, names)
    made = Reducer.of(kernel).described("Reducer.percentile", percentiles=percentiles, outputNames=output_names)
    return made.renamed(names)


@registry.implements("Reducer.mode")
def mode(
    max_buckets: int | None = None,  # noqa: ARG001 -- no histogram is made: every value is kept
    min_bucket_width: float | None = None,  # noqa: ARG001 -- as above
    max_raw: int | None = None,  # noqa: ARG001 -- as above
) -> Reducer:
    """The most frequent value."""
    return Reducer.of(Mode("Reducer.mode", (Output("mode", "same"),)))


@registry.implements("Reducer.intervalMean")
def interval_mean(
    min_percentile: float,
    max_percentile: float,
    max_buckets: int | None = None,  # noqa: ARG001 -- no histogram is made: every value is kept
    min_bucket_width: float | None = None,  # noqa: ARG001 -- as above
    max_raw: int | None = None,  # noqa: ARG001 -- as above
) -> Reducer:
    """The mean of the values between two percentiles."""
    if not 0 <= min_percentile <= max_percentile <= 100:
        raise invalid(f"Reducer.intervalMean: wrong percentiles {min_percentile:g} and {max_percentile:g}.")
    share = (min_percentile / 100, max_percentile / 100)
    kernel = IntervalMean("Reducer.intervalMean", (Output("mean"),), 1, True, *share)
    return Reducer.of(kernel).described(
        "Reducer.intervalMean", minPercentile=min_percentile, maxPercentile=max_percentile
    )


@registry.implements("Reducer.histogram")
def histogram(
    max_buckets: int | None = None,
    min_bucket_width: float | None = None,
    max_raw: int | None = None,  # noqa: ARG001 -- every value is kept until the buckets are known
) -> Reducer:
    """Weights by buckets as wide as a power of two."""
    label = "Reducer.histogram"
    buckets, width = bucket_count(label, max_buckets), least_width(label, min_bucket_width)
    kernel = Histogram(label, (Output("histogram"),), 1, True, buckets, width)
    return Reducer.of(kernel).described(label, maxBuckets=max_buckets, minBucketWidth=min_bucket_width)


@registry.implements("Reducer.autoHistogram")
def auto_histogram(
    max_buckets: int | None = None,
    min_bucket_width: float | None = None,
    max_raw: int | None = None,  # noqa: ARG001 -- every value is kept until the buckets are known
    cumulative: bool = False,
) -> Reducer:
    """The same as an array."""
    label = "Reducer.autoHistogram"
    buckets, width = bucket_count(label, max_buckets), least_width(label, min_bucket_width)
    return Reducer.of(AutoHistogram(label, (Output("histogram", dimensions=2),), 1, True, buckets, width, cumulative))


@registry.implements("Reducer.fixedHistogram")
def fixed(min: float, max: float, steps: int, cumulative: bool = False) -> Reducer:
    """Weights by equal steps from min to max, as an array."""
    made = Reducer.of(fixed_histogram(min, max, steps, cumulative=cumulative))
    return made.described("Reducer.fixedHistogram", min=min, max=max, steps=steps, cumulative=cumulative or None)


@registry.implements("Reducer.linearRegression")
def regression(num_x: int, num_y: int = 1) -> Reducer:
    """Least squares with several predictors and responses."""
    made = Reducer.of(linear_regression(num_x, num_y))
    return made.described("Reducer.linearRegression", numX=num_x, numY=num_y)


@registry.implements("Reducer.robustLinearRegression")
def robust(num_x: int, num_y: int = 1, beta: float | None = None) -> Reducer:
    """Least squares without the rows that lie too far off."""
    made = Reducer.of(robust_regression(num_x, num_y, beta))
    return made.described("Reducer.robustLinearRegression", numX=num_x, numY=num_y, beta=beta)


@registry.implements("Reducer.ridgeRegression")
def ridge(num_x: int, num_y: int = 1, lambda_: float = 0.1) -> Reducer:
    """Least squares with a penalty on large coefficients."""
    made = Reducer.of(ridge_regression(num_x, num_y, lambda_))
    return made.described("Reducer.ridgeRegression", numX=num_x, numY=num_y, **{"lambda": lambda_})


@registry.implements("Reducer.kendallsCorrelation")
def kendall(num_inputs: int = 1) -> Reducer:
    """How well two inputs, or one and the order of the rows, agree on what is more."""
    made = Reducer.of(kendalls_correlation(num_inputs))
    return made.described("Reducer.kendallsCorrelation", numInputs=num_inputs)


@registry.implements("Reducer.geometricMedian")
def median_point(num_x: int, eta: float = 0.001, initial_step_size: float = 10) -> Reducer:
    """The point that is nearest to all rows together."""
    made = Reducer.of(geometric_median(num_x, eta, initial_step_size))
    return made.described("Reducer.geometricMedian", numX=num_x, eta=eta, initialStepSize=initial_step_size)


@registry.implements("Reducer.fixed2DHistogram")
def pairs(x_min: float, x_max: float, x_steps: int, y_min: float, y_max: float, y_steps: int) -> Reducer:
    """Counts over two inputs by equal steps, as an array."""
    made = Reducer.of(fixed_pairs((x_min, x_max, x_steps), (y_min, y_max, y_steps)))
    given = {"xMin": x_min, "xMax": x_max, "xSteps": x_steps, "yMin": y_min, "yMax": y_max, "ySteps": y_steps}
    return made.described("Reducer.fixed2DHistogram", **given)


@registry.implements("Reducer.forEachElement")
def each_element(reducer: Reducer) -> Reducer:
    """The results at each place of arrays."""
    return for_each_element(reducer)


@registry.implements("Reducer.disaggregate")
def disaggregate(reducer: Reducer, axis: int | None = None) -> Reducer:
    """The members of lists, dictionaries and arrays, one by one."""
    if axis is not None:
        raise invalid("Reducer.disaggregate with the argument 'axis' is not emulated.")
    return disaggregated(reducer)


@registry.implements("Reducer.toList")
def collect_list(tuple_size: int | None = None, num_optional: int = 0) -> Reducer:
    """The values, or tuples of them, in order."""
    made = Reducer.of(to_list(tuple_size, num_optional))
    return made.described("Reducer.toList", tupleSize=tuple_size, numOptional=num_optional or None)


@registry.implements("Reducer.toCollection")
def collect_features(property_names: list[Any], num_optional: int = 0) -> Reducer:
    """A feature for each row."""
    made = Reducer.of(to_collection(texts(property_names), num_optional))
    return made.described("Reducer.toCollection", propertyNames=property_names, numOptional=num_optional or None)


@registry.implements("Reducer.combine")
def combine(reducer1: Reducer, reducer2: Reducer, output_prefix: str = "", shared_inputs: bool = False) -> Reducer:
    """The results of two reducers side by side."""
    return combined(reducer1, reducer2, shared=shared_inputs, prefix=output_prefix)


@registry.implements("Reducer.repeat")
def repeat(reducer: Reducer, count: int) -> Reducer:
    """Copies over inputs of their own, their results as lists."""
    return repeated(reducer, count)


@registry.implements("Reducer.group")
def group(reducer: Reducer, group_field: int = 0, group_name: str = "group") -> Reducer:
    """The results for each value of one input."""
    return grouped(reducer, group_field, group_name)


@registry.implements("Reducer.forEach")
def each_name(reducer: Reducer, output_names: list[Any]) -> Reducer:
    """A copy for each name."""
    return for_each(reducer, texts(output_names))


@registry.implements("Reducer.forEachBand")
def each_band(reducer: Reducer, image: Image) -> Reducer:
    """A copy for each band."""
    return for_each(reducer, image.names)


@registry.implements("Reducer.splitWeights")
def split_weights(reducer: Reducer) -> Reducer:
    """Each weighted input as two: values and weights."""
    return split(reducer)


@registry.implements("Reducer.unweighted")
def unweighted(reducer: Reducer) -> Reducer:
    """The same without weights."""
    return reducer.unweighted().described("Reducer.unweighted", reducer=reducer)


@registry.implements("Reducer.setOutputs")
def set_outputs(reducer: Reducer, outputs: list[Any]) -> Reducer:
    """The same under other names; a result whose name is null or empty is left out."""
    renamed = reducer.renamed(texts([name or "" for name in outputs]))
    return renamed.described("Reducer.setOutputs", reducer=reducer, outputs=outputs)


@registry.implements("Reducer.getOutputs")
def get_outputs(reducer: Reducer) -> list[str]:
    """Names of the results."""
    return reducer.output_names
