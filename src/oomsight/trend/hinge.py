"""Where a curve bends: the moment at which the present growth began."""

from __future__ import annotations

from collections.abc import Sequence
from operator import mul

from oomsight._named import NamedTuple
from oomsight.trend.robust import median


class Hinge(NamedTuple):
    """Two straight lines that meet at one of the points."""

    bend: int  #: index of the point at which they meet
    explained: float  #: share of the one line's squared error that the bend takes away, 0 … 1


def hinge(times: Sequence[float], values: Sequence[float], edge: int = 3) -> Hinge | None:
    """
    Return the best bend of a curve: least squares of ``a + b·t + c·max(0, t - bend)`` over all bends.

    Segmented regression (Muggeo 2003) with a grid instead of iterations: what the straight line leaves is held against
    what it leaves of each ``max(0, t - bend)`` (Frisch and Waugh 1933), so with running sums each bend costs a handful
    of multiplications. *edge*: points that must lie on either side. ``None`` with fewer than ``2 * edge`` points.
    """
    n = len(times)
    if n < 2 * edge:
        return None
    centre, scale = sum(times) / n, (times[-1] - times[0]) or 1.0
    x = [(time - centre) / scale for time in times]
    mean = sum(values) / n
    y = [value - mean for value in values]
    sxx = sum(map(mul, x, x))
    if sxx == 0 or not any(y):
        return None
    slope = sum(map(mul, x, y)) / sxx
    left = [value - slope * at for at, value in zip(x, y, strict=True)]
    line_error = sum(map(mul, left, left))
    # Over the points after a bend: how many there are, and the sums of x, x², of what is left, and of that times x.
    after, most, best = edge, 0.0, 0
    x_end, left_end = x[-edge:], left[-edge:]
    x_sum, xx_sum = sum(x_end), sum(map(mul, x_end, x_end))
    left_sum, left_x_sum = sum(left_end), sum(map(mul, left_end, x_end))
    for bend, value in zip(x[-edge - 1 : edge - 2 : -1], left[-edge - 1 : edge - 2 : -1], strict=True):
        # Sums of h = max(0, t - bend), of h·x, and of h² with and without its own straight line; of h and what is left.
        h_sum = x_sum - bend * after
        h_x = xx_sum - bend * x_sum
        h_h = h_x - bend * h_sum
        h_left = left_x_sum - bend * left_sum
        h_own = h_h - h_sum * h_sum / n - h_x * h_x / sxx
        if h_left * h_left >= most * h_own and h_own > 1e-12 * h_h:  # of equal ones the first
            most, best = h_left * h_left / h_own, after
        after += 1
        x_sum += bend
        xx_sum += bend * bend
        left_sum += value
        left_x_sum += value * bend
    return Hinge(n - best - 1, min(most / line_error, 1.0)) if best and line_error > 0 else None


def thirds(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the medians of the first, second and last third."""
    n = len(values)
    low, high = max(1, n // 3), min(n - 1, n - n // 3)
    return median(values[:low]), median(values[low:high] or values), median(values[high:])
