"""Where a curve bends: the moment at which the present growth began."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

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
    sxx, sxy, syy = sum(a * a for a in x), sum(a * b for a, b in zip(x, y, strict=True)), sum(b * b for b in y)
    if sxx == 0 or syy == 0:
        return None
    line_error = syy - sxy * sxy / sxx
    # Sums over the points after each index, from the back.
    t1, t2, ty, ys = (
        [*accumulate(reversed(terms))][::-1]
        for terms in (x, [a * a for a in x], [a * b for a, b in zip(x, y, strict=True)], y)
    )
    best: tuple[float, int, float, float] | None = None
    for i in range(edge, n - edge + 1):
        k, bend = n - i, x[i - 1]
        # Moments of h = max(0, t - bend), centred, against x and y.
        h_sum = t1[i] - bend * k if i < n else 0.0
        h_h = t2[i] - 2 * bend * t1[i] + bend * bend * k - h_sum * h_sum / n
        h_x = t2[i] - bend * t1[i]
        h_y = ty[i] - bend * ys[i]
        determinant = sxx * h_h - h_x * h_x
        if determinant <= 1e-12 * sxx * max(h_h, 1e-30):
            continue
        b = (sxy * h_h - h_y * h_x) / determinant
        c = (h_y * sxx - sxy * h_x) / determinant
        error = syy - b * sxy - c * h_y
        if best is None or error < best[0]:
            best = error, i - 1, b / scale, (b + c) / scale
    if best is None:
        return None
    error, index, before, after = best
    return Hinge(index, before, after, 1 - max(0.0, error) / line_error if line_error > 0 else 0.0)


def thirds(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the medians of the first, second and last third."""
    n = len(values)
    low, high = max(1, n // 3), min(n - 1, n - n // 3)
    return median(values[:low]), median(values[low:high] or values), median(values[high:])
