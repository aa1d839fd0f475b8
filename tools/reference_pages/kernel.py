"""The kernel's words and rules: logs, cgroups, badness, GFP masks."""

from __future__ import annotations

from collections.abc import Iterator

from oomsight.kernel.badness import BADNESS_RULES
from oomsight.kernel.constraint import MEMCG_ERAS
from oomsight.kernel.counters import COUNTER_ERAS
from oomsight.kernel.gfp import COMBINATIONS, LAYOUTS, ZONE_OF
from oomsight.kernel.selection import SCAN_RULES, SKIPS
from oomsight.naming import cgroup_layouts
from oomsight.report.grammar import INNER_RULES, LINE_RULES
from oomsight.report.killers import KILLER_RULES
from oomsight.report.layers import LAYERS
from oomsight.sources.decode import CODECS
from oomsight.sources.needles import NEEDLES
from reference_pages.markdown import code, prose, span, table


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
