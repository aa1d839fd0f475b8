"""Rules about the files themselves: what could not be read, is not rendered, or is suppressed badly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from oomsight._lazy import lazy
from oomsight.audit.model import Find, Fix, Hit, Rule, Settings, Severity, Where
from oomsight.audit.suppress import Suppression, idle, without_reason
from oomsight.naming.marked import Kind, mark

RENDER: Final = "helm template CHART -f values.yaml | oomsight audit -"
ACTION: Final = lazy(
    r"\{\{[^{}\n]+\}\}|\{\{-?\s*(?:[.$(\"]|/\*|include|if|range|with|define)|\{%-?\s*\w|<%"
)  # fmt: skip
"""What Go templates, Jinja and ERB put in place of values."""
_TEMPLATES: Final = frozenset({"template", "values", "kustomization"})


@dataclass(frozen=True, slots=True)
class Unread:
    """A file, or one document of it, that could not be audited."""

    path: str
    line: int | None
    column: int | None
    problem: str  #: marked text
    kind: str = "broken"  #: or ``template`` (of a chart), ``values`` (to be filled in), ``kustomization``, ``large``
    render: str | None = None  #: the command that renders it


def unrendered(path: str, text: str = "", first_line: int = 1) -> Unread:
    """Return the gap that the template *text*, from line *first_line* of the file on, is."""
    action = ACTION.search(text)
    line = first_line + text.count("\n", 0, action.start() if action else 0)
    return Unread(path, line, None, "not rendered: audit what comes out of it (helm template, envsubst …)", "values")


def _unread(*kinds: str) -> Find:
    def find(subject: Unread, _: Settings) -> Iterator[Hit]:
        if subject.kind in kinds:
            where = Where(subject.path, subject.line, subject.column)
            fix = Fix(subject.render, "sh") if subject.render else None
            yield Hit(where, mark(subject.path, Kind.FILE), subject.problem, fix=fix)

    return find


@dataclass(frozen=True, slots=True)
class Comment:
    """A suppression in a file."""

    path: str
    suppression: Suppression
    used: bool


def _bad_comment(subject: Comment, _: Settings) -> Iterator[Hit]:
    yield from without_reason(subject.suppression, subject.path)


def _idle_comment(subject: Comment, settings: Settings) -> Iterator[Hit]:
    if not subject.used and not list(_bad_comment(subject, settings)):
        yield idle(subject.suppression, subject.path)


_POD = """\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - name: web
    image: nginx
    resources: {requests: {memory: 64Mi}, limits: {memory: %s}}%s
"""

RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "OS001", "File cannot be audited", Severity.MEDIUM, "unread", _unread("broken"),
        what="a file, or one document of it, that looks like something to audit and cannot be read: wrong YAML, bytes "
        "that are not UTF-8, no right to read it.",
        why="what is not read is not audited, and a silent gap looks like a clean result.",
        leads="a limit that only exists in a broken file does not exist in the cluster either.",
        how="mend the line named, or leave the file out with `exclude` in `.oomsight.toml`.",
        source="YAML 1.1; RFC 3629 (UTF-8)",
        sample_name="pod.yaml",
        failing="apiVersion: v1\nkind: Pod\nspec:\n  containers: [\n",
        passing=_POD % ("64Mi", ""),
    ),
    Rule(
        "OS002", "Template is not rendered", Severity.INFO, "unread", _unread(*_TEMPLATES),
        what="a file with template actions (`{{ … }}`) or placeholders in place of values, or a kustomization that "
        "patches its files, generates ConfigMaps or changes images.",
        why="limits come from values files, patches and scripts; only the rendered text says what will run.",
        leads="a default in values.yaml that nobody looked at is a limit nobody chose; a patch can take one away.",
        how="`helm template CHART -f values.yaml | oomsight audit -`, once for each values file in use; "
        "`kubectl kustomize DIR | oomsight audit -`, once for each overlay.",
        source="Helm documentation, helm template; Kubernetes documentation, kustomize",
        sample_name="pod.yaml",
        failing=_POD % ("{{ .Values.memory }}", ""),
        passing=_POD % ("64Mi", ""),
    ),
    Rule(
        "OS003", "Suppression without a reason", Severity.MEDIUM, "comment", _bad_comment,
        what="a comment `oomsight: ignore[…]` without a reason behind the brackets, or with something that is no rule.",
        why="the next reader cannot tell whether the reason still holds.",
        leads="a suppression copied along with a manifest hides the next finding, which nobody accepted.",
        how="write the reason behind the brackets, on the same line. Without one the finding stays.",
        source="oomsight",
        sample_name="pod.yaml",
        failing=_POD % ("256Mi", "  # oomsight: ignore[OS404]"),
        passing=_POD % ("256Mi", "  # oomsight: ignore[OS404] nodes are not shared"),
    ),
    Rule(
        "OS004", "Suppression suppresses nothing", Severity.INFO, "comment", _idle_comment,
        what="a suppression whose rule finds nothing in its place.",
        why="what it excused is gone; the excuse would hide the next one.",
        leads="only by hiding a later finding.",
        how="remove the comment.",
        source="oomsight",
        sample_name="pod.yaml",
        failing=_POD % ("64Mi", "  # oomsight: ignore[OS404] nodes are not shared"),
        passing=_POD % ("256Mi", "  # oomsight: ignore[OS404] nodes are not shared"),
    ),
    Rule(
        "OS005", "File too large to audit", Severity.MEDIUM, "unread", _unread("large"),
        what="a document bigger than 8 MiB, or one whose aliases unfold into millions of values (a YAML bomb).",
        why="reading it would take the memory of the machine that audits.",
        leads="the API server refuses objects above 1.5 MiB (etcd), and the Go libraries refuse excessive aliasing.",
        how="split it: one object per document, `kubectl get` one namespace at a time.",
        source="etcd system limits; go-yaml, decode.go (document contains excessive aliasing)",
        sample_name="pod.yaml",
        failing="kind: List\na: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
        "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
        "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\nitems: [*f,*f]\n",
        passing=_POD % ("64Mi", ""),
    ),
)  # fmt: skip
