"""
Names from whoever runs containers, pods, machines and sessions on this host; read only.

Each module knows one family and yields :class:`~oomsight.attribute.memory.Observation`; :func:`survey` asks them all.
A source that is not there or shut is one line in :attr:`Survey.missing` that says what would give it.
"""

from oomsight.sources.runtimes.places import Places
from oomsight.sources.runtimes.survey import Survey, look_up, survey

__all__ = ["Places", "Survey", "look_up", "survey"]
