#!/usr/bin/env python3
"""
Write docs/reference from the tables of the code: ``gen_reference.py`` writes, ``gen_reference.py --check`` compares.

Every page is one function that walks the same table the program walks, so a page cannot say anything else than the
program does. A test runs ``--check``.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

import oomsight
from oomsight.alarms.table import ALARMS
from oomsight.audit.registry import rules
from oomsight.audit.settings import KEYS as AUDIT_KEYS
from oomsight.cli.exits import EXIT_HELP
from oomsight.cli.main import PROGRAM, cli
from oomsight.daemons.telemetry_config import SECTIONS
from oomsight.kernel.badness import BADNESS_RULES
from oomsight.kernel.constraint import MEMCG_ERAS
from oomsight.kernel.counters import COUNTER_ERAS
from oomsight.kernel.gfp import COMBINATIONS, LAYOUTS, ZONE_OF
from oomsight.kernel.release import Release, release_text
from oomsight.kernel.selection import SCAN_RULES, SKIPS
from oomsight.metrics.table import LABELS, METRICS
from oomsight.naming import cgroup_layouts
from oomsight.report.carriers import LAYERS
from oomsight.report.grammar import INNER_RULES, LINE_RULES
from oomsight.report.killers import KILLER_RULES
from oomsight.sinks.document import json_schema
from oomsight.sources.decode import CODECS
from oomsight.sources.needles import NEEDLES
from oomsight.status.hurts import HURTS
from oomsight.status.memory import ITEMS

if TYPE_CHECKING:
    from oomsight.audit.model import Rule

TARGET: Final = Path(__file__).resolve().parents[1] / "docs" / "reference"
NOTE: Final = "<!-- Written by tools/gen_reference.py (make docs); changes here are lost. -->"
WIDTH: Final = 96
ENV: Final = re.compile(r"(?:OOMSIGHT_[A-Z_]+|NO_COLOR)")


def code(text: object) -> str:
    """Return *text* as a code span that a table cell can hold."""
    shown = str(text).replace("\n", "\\n").replace("|", "\\|")
    if not shown.strip():
        return f"`{shown!r}`" if shown else ""
    fence = "``" if "`" in shown else "`"
    return f"{fence}{shown}{fence}"


def prose(text: str) -> str:
    """Return a docstring or a table's words as Markdown on one line: roles and double backticks become code spans."""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", " ".join(text.split()))
    return re.sub(r"``(.+?)``", r"`\1`", text).replace("|", "\\|").replace("<", "\\<")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table and an empty one."""
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def span(since: Release, until: Release | None) -> str:
    """Return a range of kernel releases in words."""
    if until is None:
        return f"{release_text(since)} and later"
    return release_text(since) if since == until else f"{release_text(since)} to {release_text(until)}"


# -- the program ------------------------------------------------------------------------------------------------------


def _context(command: click.Command, name: str, parent: click.Context | None = None) -> click.Context:
    # The width must not depend on the terminal this is written on.
    settings: dict[str, Any] = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    return click.Context(command, info_name=name, parent=parent, **settings)


def _help(ctx: click.Context) -> Iterator[str]:
    yield "```text"
    yield from (line.rstrip() for line in ctx.get_help().rstrip().splitlines())
    yield "```"
    yield ""


def cli_page() -> Iterator[str]:
    """The help of the program and of every command, as it prints it."""
    yield "What `--help` prints; the man pages (`make man`) say the same. See also [exit statuses](exit-status.md)."
    yield ""
    top = _context(cli, PROGRAM)
    yield f"## {PROGRAM}"
    yield ""
    yield from _help(top)
    for name in cli.list_commands(top):
        command = cli.get_command(top, name)
        assert command is not None
        yield f"## {PROGRAM} {name}"
        yield ""
        here = _context(command, name, top)
        yield from _help(here)
        for inner in command.list_commands(here) if isinstance(command, click.Group) else ():
            yield f"### {PROGRAM} {name} {inner}"
            yield ""
            yield from _help(_context(command.get_command(here, inner), inner, here))
    yield "## Environment"
    yield ""
    yield from table(
        ("variable", "meaning"),
        [
            ("`NO_COLOR`", "not empty: no colour, unless `--color always` asks for it"),
            ("`OOMSIGHT_REDACT_KEY`", "key of the pseudonyms, as `--redact-key`, but not seen in `ps`"),
            ("`OOMSIGHT_STORE`", "the incident store, as `--store`"),
            ("`OOMSIGHT_HISTORY`", "the recorder's directory, as `record --store` and `history --store`"),
            ("`OOMSIGHT_DEBUG`", "not empty: an error shows its traceback instead of one line"),
        ],
    )


def exit_page() -> Iterator[str]:
    """Exit statuses."""
    yield "The same for every command. What was found does not change the status, unless `--exit-code` asks for that."
    yield ""
    yield from table(
        ("status", "name", "meaning"), [(str(int(s)), code(s.name), prose(words)) for s, words in EXIT_HELP]
    )
    yield "What is wrong with a command line, a right or a file is one line on standard error; answers go to standard"
    yield "output."
    yield ""


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name})"
    if "const" in schema:
        return code(f'"{schema["const"]}"')
    if "enum" in schema:
        return ", ".join(code(f'"{value}"') for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_type(part) for part in schema["anyOf"])
    kind = schema["type"]
    names = kind if isinstance(kind, list) else [kind]
    if "items" in schema:
        return " or ".join(["array of " + _type(schema["items"]), *(n for n in names if n != "array")])
    if isinstance(schema.get("additionalProperties"), dict):
        return " or ".join(["object of " + _type(schema["additionalProperties"]), *(n for n in names if n != "object")])
    return " or ".join(names)


def json_page() -> Iterator[str]:
    """Every field of ``--format json``."""
    schema = json_schema()
    yield "`oomsight explain --format json` writes one document, `--format ndjson` one [incident](#incident) per line."
    yield f"Version of the contract: `{schema['$id']}`. `oomsight schema` prints the JSON Schema behind this page."
    yield ""
    yield "- Sizes end in their unit: `_kib`, `_bytes`, `_pages`."
    yield '- `null` is *not known*, `0` is zero, `"unlimited"` is a limit that does not limit.'
    yield "- Every key is always there."
    yield "- Names are the raw names; a byte that is not UTF-8 is a lone surrogate, `\\udcXX` (`surrogateescape`)."
    yield "- The text is pure ASCII: other characters are `\\uXXXX`."
    yield ""
    for name, record in (("document", schema), *schema["$defs"].items()):
        yield f"## {name}"
        yield ""
        yield record.get("description") or "What `explain --format json` writes."
        yield ""
        yield from table(
            ("field", "type", "meaning"),
            [(code(k), _type(v), prose(v.get("description", ""))) for k, v in record["properties"].items()],
        )


# -- the kernel's words -----------------------------------------------------------------------------------------------


def log_page() -> Iterator[str]:
    """Carriers, line grammar, needles, userspace killers, compression."""
    yield "How oomsight finds an event in a log: strings to search for, carriers to take off, shapes of lines to read."
    yield "A kernel is recognised by the shape of its lines, never by its version number."
    yield ""
    yield "## Needles"
    yield ""
    yield "Large logs are searched for these strings, and what is around a hit is parsed. Input of up to 1 MiB is"
    yield "parsed whole."
    yield ""
    yield from table(
        ("string", "announces", "printed by"),
        [(code(n.text.decode()), prose(n.announces), prose(n.source)) for n in NEEDLES],
    )
    yield "## Carriers"
    yield ""
    yield "What other programs put in front of a kernel message. Layers are tried in this order, each once a line."
    yield ""
    yield from table(
        ("layer", "example", "written by"), [(code(x.name), code(x.sample), prose(x.source)) for x in LAYERS]
    )
    yield "## Lines of a report"
    yield ""
    yield from table(
        ("shape", "since", "printed by", "example"),
        [(code(r.name), r.since, prose(r.source), code(r.sample)) for r in LINE_RULES],
    )
    yield "And three whose telling words stand behind a name that anybody may choose:"
    yield ""
    yield from table(("shape", "example"), [(code(name), code(sample)) for name, _, sample in INNER_RULES])
    yield "## Userspace killers"
    yield ""
    yield "Kills that user space did, or reports. They are events of kind `userspace_killer`; the kernel killed nobody."
    yield ""
    yield from table(
        ("killer", "example", "printed by"), [(code(r.killer), code(r.sample), prose(r.source)) for r in KILLER_RULES]
    )
    yield "## Compression"
    yield ""
    yield "Recognised by the first bytes of a file, whatever its name; UTF-16 and systemd journal files are, too."
    yield ""
    yield from table(("format", "first bytes"), [(codec.name, code(codec.magic.hex(" "))) for codec in CODECS])


def cgroup_page() -> Iterator[str]:
    """The table of cgroup layouts."""
    yield "Who a cgroup belongs to is read from its path, component by component. A row applies anywhere, or only below"
    yield "a parent that opened its context. Rows of a context are tried first; then top to bottom."
    yield ""
    yield from table(
        ("layout", "below", "is a", "example", "source"),
        [
            (
                code(row.name), ", ".join(sorted(row.under)) or "anywhere", row.kind or "(part of its parent)",
                code(row.example), prose(row.source),
            )
            for row in cgroup_layouts.LAYOUTS
        ],
    )  # fmt: skip
    yield "Prefixes of container runtimes in a scope's name:"
    yield ""
    yield from table(("prefix", "runtime"), [(code(k), v) for k, v in cgroup_layouts.RUNTIMES.items()])


def badness_page() -> Iterator[str]:
    """Badness, T, scan order, exemptions and counters of each era."""
    yield "How each kernel scored its tasks, bounded memory by T, scanned them and whom it passed over. Ranges are"
    yield "mainline's; distributions back-port, so the shape of a report decides before its version does. The story:"
    yield "[how badness works](../explanation/badness.md)."
    yield ""
    yield "## Formulas"
    yield ""
    yield from table(
        ("rule", "kernels", "points", "unit", "source"),
        [
            (code(r.name), span(r.since, r.until), prose(r.words), r.unit.replace("_", " "), prose(r.source))
            for r in BADNESS_RULES
        ],
    )
    yield "## T of a memory cgroup"
    yield ""
    yield "T scales `oom_score_adj`. For the whole machine it is RAM plus swap; for a cgroup:"
    yield ""
    yield from table(
        ("kernels", "cgroup", "T", "source"),
        [
            (span(e.since, e.until), " and ".join(f"v{v}" for v in sorted(e.versions)), prose(e.words), prose(e.source))
            for e in MEMCG_ERAS
        ],
    )
    yield "## Scan order and ties"
    yield ""
    ties = {"first": "the first scanned", "first_leader": "the first thread-group leader", "last": "the last scanned"}
    yield from table(
        ("kernels", "for", "scans", "at equal points wins", "source"),
        [
            (span(r.since, r.until), " and ".join(sorted(r.scopes)), r.unit, ties[r.tie], prose(r.source))
            for r in SCAN_RULES
        ],
    )
    yield "## Who is passed over"
    yield ""
    yield from table(
        ("reason", "kernels", "for"),
        [(s.name, span(s.since, s.until), " and ".join(sorted(s.scopes))) for s in SKIPS],
    )
    yield "## How exact the counters are"
    yield ""
    yield from table(
        ("kernels", "counted", "source"),
        [(span(e.since, e.until), prose(e.words), prose(e.source)) for e in COUNTER_ERAS],
    )


def gfp_page() -> Iterator[str]:
    """Layouts of the GFP mask."""
    yield "The mask of a failed request, `gfp_mask=0x…`. Its bits moved; kernels since 4.6 print the names, too, and"
    yield "those count. For older ones the layout is told from the bits themselves."
    yield ""
    yield "## Layouts"
    yield ""
    yield from table(
        ("layout", "kernels", "bits that mean \"may reclaim\"", "source"),
        [(code(x.name), span(x.since, x.until), code(hex(x.reclaim)), prose(x.source)) for x in LAYOUTS],
    )
    yield "## Bits"
    yield ""
    flags = dict.fromkeys(flag for layout in reversed(LAYOUTS) for flag in layout.bits)
    yield from table(
        ("flag", *(layout.name for layout in LAYOUTS)),
        [
            (code(flag), *(code(hex(x.bits[flag])) if flag in x.bits else "" for x in LAYOUTS))
            for flag in flags
        ],
    )
    yield "## Combinations"
    yield ""
    yield from table(
        ("name", "flags"), [(code(name), ", ".join(map(code, parts))) for name, parts in COMBINATIONS.items()]
    )
    yield "## Highest zone"
    yield ""
    yield from table(
        ("zone flags", "zone"),
        [(", ".join(map(code, sorted(chosen))) or "none", zone) for chosen, zone in ZONE_OF.items()],
    )


# -- alarms -----------------------------------------------------------------------------------------------------------


def alarms_page() -> Iterator[str]:
    """Every memory alarm, and every setting that `status` warns of."""
    yield "When `oomsight agent` raises a memory alert. How to be told, and how to change a limit:"
    yield "[be told](../how-to/alerts.md). An alert is raised when its condition has held for the time given (at most a"
    yield "quarter of the time left), critical from a second limit on, and over when it was on the other side of its"
    yield "clearing limit for its own time. Page cache is nobody's need: it raises none."
    yield ""
    unit = {"pct": " %", "seconds": " s", "per_minute": " a minute"}
    yield from table(
        ("code", "of", "measures", "raised", "critical", "for", "over", "after", "source"),
        [
            (
                code(a.code), a.scope, prose(a.measures),
                f"{'≤' if a.downwards else '≥'} {a.raise_at:g}{unit[a.unit]}",
                "" if a.critical_at is None else f"{a.critical_at:g}{unit[a.unit]}", f"{a.for_seconds:g} s",
                f"{'≥' if a.downwards else '≤'} {a.clear_at:g}{unit[a.unit]}", f"{a.clear_seconds:g} s",
                prose(a.source),
            )
            for a in ALARMS
        ],
    )  # fmt: skip
    yield "Growth counts when it was seen for at least a third of the time left and, below two minutes, only when half"
    yield "of the limit is used: a program that starts is no leak, nor is a heap that was collected and has not been"
    yield "above its last peak."
    yield ""
    yield "## Settings that will hurt"
    yield ""
    yield "What `oomsight status` says about the settings of a host."
    yield ""
    yield from table(("code", "weight", "what to do", "source"),
                     [(code(row.code), row.weight, prose(row.cure), prose(row.source)) for row in HURTS])  # fmt: skip
    yield "## Where RAM is"
    yield ""
    yield "How the lines of `/proc/meminfo` become the accounting of `oomsight status`; what is left is `unaccounted`."
    yield ""
    yield from table(("item", "what", "lines"), [(code(i.key), i.label, code(i.lines)) for i in ITEMS])


# -- metrics ----------------------------------------------------------------------------------------------------------


def metrics_page() -> Iterator[str]:
    """Every metric, every label, every setting of the sections that serve or send them."""
    yield "What `oomsight agent` serves at `/metrics` and sends by OTLP and to Zabbix. How to use it:"
    yield "[metrics, dashboards, alert rules](../how-to/metrics.md). What is not known has no sample, never 0."
    yield ""
    yield "## Metrics"
    yield ""
    yield from table(
        ("name", "type", "labels", "meaning", "source"),
        [
            (code(m.name), m.kind, ", ".join(map(code, m.labels)), prose(m.help), prose(m.source))
            for m in METRICS
        ],
    )
    yield "In OpenTelemetry a name has a dot after `oomsight` and neither unit nor `_total`:"
    yield "`oomsight_memory_available_bytes` is `oomsight.memory_available` with unit `By`. Zabbix items are called the"
    yield "same, with the labels in brackets."
    yield ""
    yield "## Labels"
    yield ""
    yield "Empty = there is no such thing there; `unknown` = there is, and it is not known. Of those that anybody can"
    yield "choose, only so many are kept apart; the rest share `other`. Invisible characters are shown escaped."
    yield ""
    yield from table(
        ("label", "OpenTelemetry", "anybody can choose it", "value"),
        [(code(x.name), code(x.otel), "yes" if x.open else "", prose(x.help)) for x in LABELS.values()],
    )
    yield "## Settings"
    yield ""
    for name, rows in SECTIONS.items():
        yield f"### `[{name}]`"
        yield ""
        yield from table(
            ("key", "default", "meaning"),
            [(code(row.name), code(json.dumps(row.default)), prose(row.help)) for row in rows],
        )


# -- audit ------------------------------------------------------------------------------------------------------------


AUDIT_GROUPS: Final = {
    "OS0": "The files themselves", "OS1": "Hosts", "OS2": "systemd units", "OS3": "Containers: compose, Dockerfiles",
    "OS4": "Kubernetes", "OS5": "Runtimes against their limit",
}  # fmt: skip
"""How ids of rules begin -> what those rules are about."""


def audit_page() -> Iterator[str]:
    """Every rule of ``oomsight audit`` and the configuration file."""
    yield "What `oomsight audit` looks for. Ids are stable; each has a page. How to use it:"
    yield "[audit a repository](../../how-to/audit.md)."
    yield ""
    for prefix, title in AUDIT_GROUPS.items():
        if rows := [row for row in rules() if row.id.startswith(prefix)]:
            yield f"## {title}"
            yield ""
            yield from table(
                ("rule", "severity", "found"),
                [(f"[{row.id}]({row.id}.md)", row.severity.word, prose(row.title)) for row in rows],
            )
    yield "## Configuration"
    yield ""
    yield "`.oomsight.toml`, in the directory where `oomsight audit` is run or in the one audited; `--config` names"
    yield "another. Table `[audit]`:"
    yield ""
    yield from table(("key", "meaning"), [(code(key.name), prose(key.help)) for key in AUDIT_KEYS])


def _sample(name: str, text: str) -> Iterator[str]:
    language = "yaml" if name.endswith((".yaml", ".yml")) else "ini" if name.endswith(".service") else "text"
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    yield f"{fence}{language}"
    yield from text.rstrip("\n").split("\n")
    yield fence
    yield ""


def rule_page(row: Rule) -> Callable[[], Iterator[str]]:
    """Return the writer of a rule's page."""

    def page() -> Iterator[str]:
        yield f"Severity: **{row.severity.word}**. [All rules](README.md)"
        yield ""
        for title, text in (
            ("What", row.what), ("Why", row.why), ("How it leads to an OOM kill", row.leads),
            ("How to fix it", row.how),
        ):  # fmt: skip
            yield f"## {title}"
            yield ""
            yield prose(text[:1].upper() + text[1:])
            yield ""
        yield "## Found in"
        yield ""
        yield from _sample(row.sample_name, row.failing)
        yield "## Not found in"
        yield ""
        yield from _sample(row.sample_name, row.passing)
        yield "## Source"
        yield ""
        yield prose(row.source)
        yield ""

    return page


# -- the library ------------------------------------------------------------------------------------------------------


def _doc(value: object) -> Iterator[str]:
    """A docstring as Markdown: prose paragraphs, then the ``:param …:`` fields as a list."""
    text = inspect.getdoc(value) or ""
    body, *fields = re.split(r"(?m)^:(param \w+|return|raises \w+): ?", text)
    for paragraph in body.strip().split("\n\n"):
        yield prose(paragraph)
        yield ""
    for name, words in zip(fields[::2], fields[1::2], strict=True):
        what = {"param": "", "return": "returns", "raises": "raises "}[name.split()[0]]
        yield f"- **{what}{code(name.split()[1]) if ' ' in name else ''}**: {prose(words)}"
    if fields:
        yield ""


def library_page() -> Iterator[str]:
    """The public names of ``import oomsight``."""
    yield from _doc(oomsight)
    yield "How to use it: [from Python](../how-to/python.md)."
    yield ""
    functions = {n: v for n in oomsight.__all__ if inspect.isfunction(v := getattr(oomsight, n))}
    classes = {n: v for n in oomsight.__all__ if inspect.isclass(v := getattr(oomsight, n))}
    yield "## Functions"
    yield ""
    for name, function in functions.items():
        yield f"### {name}"
        yield ""
        yield "```python"
        yield f"{name}{_signature(function)}"
        yield "```"
        yield ""
        yield from _doc(function)
    yield "## Types"
    yield ""
    yield from table(
        ("name", "defined in", "what it is"),
        [
            (code(name), code(kind.__module__), prose((inspect.getdoc(kind) or "").split("\n\n")[0]))
            for name, kind in classes.items()
        ],
    )
    yield "The fields of each are described where it is defined, and as JSON in [json.md](json.md)."
    yield ""


def _signature(function: Callable[..., Any]) -> str:
    text = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(function)))
    if len(text) <= 100:
        return text
    inside, _, result = text[1:].rpartition(") ->")
    depth, parts, part = 0, [], ""
    for char in inside + ",":
        depth += (char in "[(") - (char in ")]")
        if char == "," and not depth:
            parts.append(part.strip())
            part = ""
        else:
            part += char
    return "(\n" + "".join(f"    {part},\n" for part in parts) + f") ->{result}"


PAGES: Final[dict[str, tuple[str, Callable[[], Iterator[str]]]]] = {
    "cli.md": ("Commands", cli_page),
    "exit-status.md": ("Exit statuses", exit_page),
    "json.md": ("JSON", json_page),
    "library.md": ("Python library", library_page),
    "logs.md": ("What is read in a log", log_page),
    "cgroups.md": ("Cgroup layouts", cgroup_page),
    "badness.md": ("Badness and selection, by kernel", badness_page),
    "gfp.md": ("GFP masks, by kernel", gfp_page),
    "metrics.md": ("Metrics", metrics_page),
    "alarms.md": ("Memory alarms", alarms_page),
    "audit/README.md": ("Audit rules", audit_page),
    **{f"audit/{row.id}.md": (f"{row.id}: {row.title}", rule_page(row)) for row in rules()},
}
"""File -> title and writer."""


def pages() -> dict[str, str]:
    """Return the text of every page by file name."""
    # Defaults that the environment gives would show in the help.
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if ENV.fullmatch(name)}
    try:
        return {
            name: "\n".join([NOTE, f"# {title}", "", *writer()]).rstrip() + "\n"
            for name, (title, writer) in PAGES.items()
        }
    finally:
        os.environ.update(hidden)


def main(args: Sequence[str]) -> int:
    """Write the pages, or with ``--check`` name those that differ; return the exit status."""
    if args not in ([], ["--check"]):
        print("usage: gen_reference.py [--check]", file=sys.stderr)
        return 2
    fresh = pages()
    if args:
        written = {
            path.relative_to(TARGET).as_posix(): path.read_text(encoding="utf-8") for path in TARGET.rglob("*.md")
        }
        stale = [name for name in {**fresh, **written} if fresh.get(name) != written.get(name)]
        for name in stale:
            print(f"docs/reference/{name} is not what the code says; run: make docs", file=sys.stderr)
        return bool(stale)
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, text in fresh.items():
        (TARGET / name).parent.mkdir(exist_ok=True)
        (TARGET / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
