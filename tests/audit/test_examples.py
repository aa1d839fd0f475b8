"""Real-looking repositories: what is found in each is held in a table (examples/expected.txt), line for line."""

from __future__ import annotations

from pathlib import Path

import pytest

from oomsight.audit.model import Settings
from oomsight.audit.registry import rules
from oomsight.audit.settings import Config
from oomsight.pipeline.audit import Plan, audit_paths

EXAMPLES = Path(__file__).parent / "examples"
TABLE = EXAMPLES / "expected.txt"
OF_THE_FILE_ITSELF = {"OS005"}  # too large to keep here: test_bombs.py


def sets() -> list[str]:
    """Return what is audited together: files, and directories one level further down."""
    return sorted(f"{kind.name}/{entry.name}" for kind in EXAMPLES.iterdir() if kind.is_dir() for entry in kind.iterdir())


def found_in(name: str) -> list[str]:
    """Return ``file:line rule`` of each open finding, files below the set."""
    root = EXAMPLES / name
    report = audit_paths(Plan((str(root),), Config(settings=Settings(ram_bytes=16 << 30))))
    base = root if root.is_dir() else root.parent
    return sorted(
        f"{Path(finding.where.path).relative_to(base)}:{finding.where.line} {finding.rule} {finding.severity.word}"
        for finding in report.open()
    )


def expected() -> dict[str, list[str]]:
    """Return the table: a set's name, and below it, indented, what is found."""
    table: dict[str, list[str]] = {}
    name = ""
    for line in TABLE.read_text().splitlines():
        if line.startswith("  "):
            table[name].append(line.strip())
        elif line and not line.startswith("#"):
            name = line
            table[name] = []
    return table


EXPECTED = expected()


@pytest.mark.parametrize("name", sets())
def test_example(name: str) -> None:
    assert found_in(name) == EXPECTED[name]


def test_every_rule_of_files_has_an_example_with_it_and_one_without() -> None:
    hit = {line.split()[1] for lines in EXPECTED.values() for line in lines}
    of_files = {row.id for row in rules() if row.sample_name not in {"host", "show", "inspect", "processes"}}
    assert of_files - OF_THE_FILE_ITSELF - hit == set()
    kinds = {"OS2": "systemd/", "OS3": "compose/", "OS32": "images/", "OS4": "kubernetes/", "OS51": "configs/"}
    for rule_id in of_files - OF_THE_FILE_ITSELF:
        kind = next((kinds[rule_id[:n]] for n in (4, 3) if rule_id[:n] in kinds), "")
        without = [name for name, lines in EXPECTED.items()
                   if name.startswith(kind) and not any(f" {rule_id} " in line for line in lines)]  # fmt: skip
        assert without, rule_id


def test_there_are_as_many_as_promised() -> None:
    files = [path for path in EXAMPLES.rglob("*") if path.is_file() and path != TABLE]
    assert len(files) >= 40
    assert set(EXPECTED) == set(sets())
