"""The weights of the verdict, fitted on the training split alone. Written by ``bench/leaks/fit.py``; do not edit."""

from __future__ import annotations

from typing import Final

FITTED_ON: Final = "abc8f1a441ee2d69"  #: the training split it was fitted on
BIAS: Final = 5.666
WEIGHTS: Final[tuple[float, ...]] = (
    -0.396,  # duration
    0.011,  # duration_over_earlier
    0.179,  # height_over_earlier
    -1.104,  # tau
    -0.333,  # signal
    -2.933,  # slowing
    1.9,  # jump
    0.582,  # without_jump
    -0.083,  # even
    -1.23,  # recent
    -1.028,  # from_start
    -1.102,  # young
    0.01,  # slowing_from_start
    1.884,  # above_before
    1.368,  # size
    -0.63,  # dropped
    1.446,  # since_yesterday
    -0.034,  # no_yesterday
    -2.377,  # short
    0.959,  # jump x no_yesterday
    -2.36,  # from_start x above_before
    0.637,  # signal x recent
    -1.348,  # size x short
    0.297,  # duration x recent
    2.219,  # tau x dropped
    -0.349,  # height_over_earlier x jump
    -0.447,  # slowing x size
    0.216,  # height_over_earlier x no_yesterday
    0.355,  # duration x even
    -3.073,  # jump x short
    1.199,  # jump x recent
    -0.912,  # above_before x short
    0.143,  # height_over_earlier x slowing_from_start
)
"""One per row of :data:`~oomsight.trend.shape.FEATURES`, then of :data:`~oomsight.trend.shape.PAIRS`."""
