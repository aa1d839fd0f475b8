"""
What programs need by their settings, held against their limit.

:func:`recognise` says which runtime a command line is, :func:`estimate` adds up what it needs: every term with its
source. Pure: whoever has a manifest, a unit file or a live process calls it.
"""

from __future__ import annotations

from oomsight.audit.runtimes.model import Estimate, Inputs, Term
from oomsight.audit.runtimes.table import RUNTIMES, estimate, program_words, recognise

__all__ = ["RUNTIMES", "Estimate", "Inputs", "Term", "estimate", "program_words", "recognise"]
