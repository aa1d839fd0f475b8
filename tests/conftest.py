"""Settings for the whole suite."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A busy machine is no bug: examples have no deadline, and slow generation is not judged.
settings.register_profile("oomsight", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("oomsight")
