"""Whose a cgroup is, by name, at a moment: what runtimes and the host said, remembered after they forgot."""

from oomsight.attribute.memory import Key, Memory, Observation
from oomsight.attribute.model import UNKNOWN, Attribution, Names
from oomsight.attribute.resolver import Resolver, charged_path

__all__ = ["UNKNOWN", "Attribution", "Key", "Memory", "Names", "Observation", "Resolver", "charged_path"]
