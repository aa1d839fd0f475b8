"""
Hindsight, insight and foresight for the Linux OOM killer.

As a library: :func:`explain` (text), :func:`explain_paths` (files), :func:`iter_incidents` (streams) return
:class:`Incident` values; :func:`parse` returns what the text says and nothing concluded from it (:class:`OomReport`);
:func:`to_dict`, :func:`to_json`, :func:`to_markdown` and :func:`to_text` show incidents, :func:`redact` makes them fit
to be shared. Sizes have their unit in their name, ``None`` is *not known*, ``0`` is zero and ``"unlimited"`` a limit
that does not limit.

Importing this package loads nothing else: each name is loaded at its first use.
"""

from oomsight._version import __version__

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from oomsight.api import (
        explain,
        explain_paths,
        iter_incidents,
        json_schema,
        parse,
        redact,
        to_dict,
        to_json,
        to_markdown,
        to_text,
    )
    from oomsight.diagnose.model import Cause, Confidence, Incident
    from oomsight.report import Clock
    from oomsight.report.model import UNLIMITED, EventKind, OomReport, Victim
    from oomsight.sources.errors import SourceError

__all__ = [
    "UNLIMITED",
    "Cause",
    "Clock",
    "Confidence",
    "EventKind",
    "Incident",
    "OomReport",
    "SourceError",
    "Victim",
    "__version__",
    "explain",
    "explain_paths",
    "iter_incidents",
    "json_schema",
    "parse",
    "redact",
    "to_dict",
    "to_json",
    "to_markdown",
    "to_text",
]

_MODULES = {
    "oomsight.api": (
        "explain", "explain_paths", "iter_incidents", "json_schema", "parse", "redact", "to_dict", "to_json",
        "to_markdown", "to_text",
    ),
    "oomsight.diagnose.model": ("Cause", "Confidence", "Incident"),
    "oomsight.report": ("Clock",),
    "oomsight.report.model": ("UNLIMITED", "EventKind", "OomReport", "Victim"),
    "oomsight.sources.errors": ("SourceError",),
}  # fmt: skip

if not TYPE_CHECKING:  # a type checker that saw this would take any misspelt name for good

    def __getattr__(name: str) -> object:
        """Load a public name at its first use (PEP 562)."""
        for module, names in _MODULES.items():
            if name in names:
                from importlib import import_module

                value = globals()[name] = getattr(import_module(module), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        """Return every public name, loaded or not."""
        return sorted({*globals(), *__all__})
