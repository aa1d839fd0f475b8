"""The weights of the verdict, fitted on the training split alone. Written by ``bench/leaks/fit.py``; do not edit."""

from __future__ import annotations

from typing import Final

FITTED_ON: Final = "190cf2244fc4eecb"  #: the training split it was fitted on
BIAS: Final = 5.474
WEIGHTS: Final[tuple[float, ...]] = (
    -0.554,  # duration
    0.127,  # duration_over_earlier
    0.067,  # height_over_earlier
    -1.738,  # tau
    -0.194,  # signal
    -3.091,  # slowing
    1.584,  # jump
    0.498,  # without_jump
    0.173,  # even
    -1.094,  # recent
    -0.727,  # from_start
    -1.447,  # young
    0.031,  # slowing_from_start
    1.758,  # above_before
    1.415,  # size
    -0.424,  # dropped
    1.269,  # since_yesterday
    -0.165,  # no_yesterday
    -2.575,  # short
    0.374,  # jump x no_yesterday
    -2.416,  # from_start x above_before
    0.533,  # signal x recent
    -1.272,  # size x short
    0.217,  # duration x recent
    2.296,  # tau x dropped
    -0.231,  # height_over_earlier x jump
    -0.473,  # slowing x size
    0.251,  # height_over_earlier x no_yesterday
    0.317,  # duration x even
    -2.653,  # jump x short
    1.185,  # jump x recent
    -0.662,  # above_before x short
    0.165,  # height_over_earlier x slowing_from_start
)
"""One per row of :data:`~oomsight.trend.shape.FEATURES`, then of :data:`~oomsight.trend.shape.PAIRS`."""
