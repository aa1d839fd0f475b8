"""Samples over time -> growth, leaks, time to exhaustion, and how good such forecasts have been. Pure Python."""
