"""Who ended it: facts from logs, runtimes and systemd, and the verdict they allow."""

from oomsight.why.evidence import Coverage, EndedBy, Fact, FactKind, Subject, Verdict
from oomsight.why.judge import judge

__all__ = ["Coverage", "EndedBy", "Fact", "FactKind", "Subject", "Verdict", "judge"]
