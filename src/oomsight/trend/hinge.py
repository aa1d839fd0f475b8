"""Where a curve bends: the moment at which the present growth began."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from operator import mul

from oomsight._named import NamedTuple
from oomsight.trend.robust import median


class Hinge(NamedTuple):
    """Two straight lines that meet at one of the points."""

    bend: int  #: index of the point at which they meet
    slope_before: float
    slope_after: float
    explained: float  #: share of the one line's squared error that the bend takes away, 0 … 1


def hinge(times: Sequence[float], values: Sequence[float], edge: int = 3) -> Hinge | None:
    """
    Return the best bend of a curve: least squares of ``a + b·t + c·max(0, t - bend)`` over all bends.

    Segmented regression (Muggeo 2003) with a grid instead of iterations: with running sums each bend costs a handful
    of multiplications. *edge*: points that must lie on either side. ``None`` with fewer than ``2 * edge`` points.
    """
    n = len(times)
    if n < 2 * edge:
        return None
    centre, scale = sum(times) / n, (times[-1] - times[0]) or 1.0
    x = [(time - centre) / scale for time in times]
    mean = sum(values) / n
    y = [value - mean for value in values]
    xx, xy = list(map(mul, x, x)), list(map(mul, x, y))
    sxx, sxy, syy = sum(xx), sum(xy), sum(map(mul, y, y))
    if sxx == 0 or syy == 0:
        return None
    line_error = syy - sxy * sxy / sxx
    # Sums over the points after each index, from the back; bend by bend, the last first.
    sums = (list(accumulate(reversed(terms)))[edge - 1 : n - edge] for terms in (x, xx, xy, y))
    best: tuple[float, int, float, float] | None = None
    for k, bend, x_sum, xx_sum, xy_sum, y_sum in zip(
        range(edge, n - edge + 1), x[n - edge - 1 :: -1], *sums, strict=False
    ):
        # Moments of h = max(0, t - bend), centred, against x and y.
        h_sum = x_sum - bend * k
        h_h = xx_sum - 2 * bend * x_sum + bend * bend * k - h_sum * h_sum / n
        h_x = xx_sum - bend * x_sum
        h_y = xy_sum - bend * y_sum
        determinant = sxx * h_h - h_x * h_x
        if determinant <= 1e-12 * sxx * max(h_h, 1e-30):
            continue
        b = (sxy * h_h - h_y * h_x) / determinant
        c = (h_y * sxx - sxy * h_x) / determinant
        error = syy - b * sxy - c * h_y
        if best is None or error <= best[0]:  # of equal ones the first
            best = error, n - k - 1, b, b + c
    if best is None:
        return None
    error, index, before, after = best
    return Hinge(index, before / scale, after / scale, 1 - max(0.0, error) / line_error if line_error > 0 else 0.0)


def thirds(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the medians of the first, second and last third."""
    n = len(values)
    low, high = max(1, n // 3), min(n - 1, n - n // 3)
    return median(values[:low]), median(values[low:high] or values), median(values[high:])
