"""Where the axis of a histogram starts and ends, and where its bins lie."""

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from curation.report.columns import Column, Floats

BINS = 48
"""Bins between the ends of the axis, about."""
TAIL = 0.005
"""Share of the values at each end that may be counted outside the axis."""

_LOG_RATIO = 100
_CODES = 1 << 16
_ZERO = 1 << 15

Counts = npt.NDArray[np.int64]


@dataclass(kw_only=True)
class Limit:
    """One threshold that the recipe holds against a measure."""

    stage: str
    reason: str
    column: str
    kind: str
    """at_least, at_most, one_of or none_of."""
    threshold: float | tuple[str, ...]
    source: str
    drops_missing: bool
    dropped: int
    """Samples dropped for this reason: those that failed no earlier rule or stage."""
    fails: int = 0
    """Samples that break this rule, whatever else they break."""

    def boundary(self, *, integer: bool) -> float:
        """Where it lies on the axis: between whole numbers where the measure has only those."""
        assert not isinstance(self.threshold, tuple)
        if not integer:
            return self.threshold
        if self.kind == "at_least":
            return math.ceil(self.threshold) - 0.5
        return math.floor(self.threshold) + 0.5

    def count(self, values: Floats) -> int:
        """How many of `values` break it, as curation.relational.select decides."""
        assert not isinstance(self.threshold, tuple)
        failed = values < self.threshold if self.kind == "at_least" else values > self.threshold
        return int(np.count_nonzero(failed))


@dataclass(kw_only=True)
class Summary:
    """What the first pass knows of a measure that is a number."""

    column: Column
    measured: int = 0
    missing: int = 0
    minimum: float = math.inf
    maximum: float = -math.inf
    codes: Counts = field(default_factory=lambda: np.zeros(_CODES, np.int64))
    """Values by `code_of`, ascending."""

    def add(self, values: Floats, rows: int) -> None:
        """`values` of a shard of `rows` samples."""
        self.measured += len(values)
        self.missing += rows - len(values)
        if len(values):
            self.minimum = min(self.minimum, float(values.min()))
            self.maximum = max(self.maximum, float(values.max()))
            self.codes += np.bincount(code_of(values), minlength=_CODES)

    def quantile(self, share: float, *, positive: bool = False) -> float:
        """The value below which `share` of the values (or of those above zero) lie, about."""
        codes = self.codes.copy()
        if positive:
            codes[: _ZERO + 1] = 0
        total = np.cumsum(codes)
        code = int(np.searchsorted(total, share * total[-1], side="right"))
        return min(max(value_of(min(code, _CODES - 1)), self.minimum), self.maximum)


def code_of(values: Floats) -> npt.NDArray[np.int64]:
    """The upper 16 bits of each value's float32 form, in an order that is that of the values."""
    with np.errstate(over="ignore"):
        bits = values.astype(np.float32).view(np.uint32).astype(np.int64)
    ordered = np.where(bits >> 31, 0xFFFFFFFF - bits, bits + 0x80000000)
    return ordered >> 16


def value_of(code: int) -> float:
    """The middle of the values that share a code; zero for its own."""
    if code in (_ZERO, _ZERO - 1):
        return 0.0
    ordered = (code << 16) + 0x8000
    bits = 0xFFFFFFFF - ordered if ordered < 0x80000000 else ordered - 0x80000000
    exact = float(np.array([bits], np.uint32).view(np.float32)[0])
    return exact if math.isfinite(exact) else math.copysign(math.inf, code - _ZERO)


def bin_edges(summary: Summary, limits: list[Limit]) -> tuple[list[float], bool]:
    """Ascending bin edges for a measure, and whether its axis is logarithmic.

    A long tail is left outside, a threshold within reach is inside, and the first threshold is an
    edge, so that no bin lies on both of its sides. Bins of whole numbers end on halves.
    """
    whole = summary.column.integer
    bounds = [limit.boundary(integer=whole) for limit in limits]
    low, high = summary.quantile(TAIL), summary.quantile(1 - TAIL)
    first = summary.quantile(TAIL, positive=True) if high > 0 else 0.0
    half = summary.quantile(0.5)
    shares = summary.maximum <= 1
    log = summary.minimum >= 0 and half > 0 and not shares and high > _LOG_RATIO * first
    if log:
        low = max(min(first, half), 0.5 if whole else high * 1e-9)
        return _log_edges(summary, low, high, bounds), True
    return _linear_edges(summary, low, high, bounds), False


def _linear_edges(summary: Summary, low: float, high: float, bounds: list[float]) -> list[float]:
    span = high - low
    if summary.maximum <= high + span / 4:
        high = summary.maximum
    if summary.minimum >= low - span / 4:
        low = summary.minimum
    reach = max(2 * (high - low), 4.0 if summary.column.integer else abs(high)) or 1.0
    seen = [b for b in bounds if low - reach <= b <= high + reach]
    whole = summary.column.integer
    if whole:
        low, high = math.floor(low) - 0.5, math.ceil(high) + 0.5
        low, high = min([low, *(b - 1 for b in seen)]), max([high, *(b + 1 for b in seen)])
        step = float(math.ceil((high - low) / BINS))
    else:
        margin = 0.04 * (high - low) or max(map(abs, [high, *seen])) / 10 or 1.0
        low = min([low, *(b - margin for b in seen)])
        high = max([high, *(b + margin for b in seen)])
        step = (high - low) / BINS or margin
    anchor = seen[0] if seen else low
    start = anchor - step * math.ceil((anchor - low) / step - 1e-9)
    bins = max(1, math.ceil((high - start) / step - 1e-9))
    return [anchor + step * (k - round((anchor - start) / step)) for k in range(bins + 1)]


def _log_edges(summary: Summary, low: float, high: float, bounds: list[float]) -> list[float]:
    if summary.maximum <= 1.5 * high:
        high = summary.maximum
    if summary.minimum >= low / 1.5:
        low = summary.minimum
    seen = [b for b in bounds if low / 100 <= b <= high * 100 and b > 0]
    low, high = min([low, *(b / 1.2 for b in seen)]), max([high, *(b * 1.2 for b in seen)])
    step = math.log(high / low) / BINS
    anchor = seen[0] if seen else low
    start = -math.ceil(math.log(anchor / low) / step - 1e-9)
    stop = math.ceil(math.log(high / anchor) / step - 1e-9)
    edges = [anchor * math.exp(step * k) for k in range(start, stop + 1)]
    edges[-start] = anchor
    if not summary.column.integer:
        return edges
    halves = {max(0.5, math.floor(edge - 0.5) + 0.5) for edge in edges}
    return sorted(halves | {math.floor(high) + 0.5})
