"""The house rules that a machine can hold: who may import whom, what a room may touch, how a module looks."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "oomsight"
MODULES = sorted(SRC.rglob("*.py"))

PURE = {
    # room: pure rooms it may import
    "kernel": set(),
    "naming": set(),
    "proc": set(),
    "report": {"naming"},
    "diagnose": {"kernel", "naming", "report"},
    "attribute": {"naming"},
    "score": {"kernel", "naming", "proc"},
    "simulate": {"kernel", "naming", "proc", "score"},
    "live": {"diagnose", "kernel", "naming", "report"},
    "alerts": {"alarms", "naming"},
    "alarms": {"naming", "proc", "trend"},
    "status": {"alarms", "kernel", "naming", "proc", "score", "trend"},
    "drill": {"alerts", "naming", "proc"},
    "metrics": {"alarms", "diagnose", "naming", "proc", "report", "score"},
    "why": {"attribute", "diagnose", "kernel", "naming", "report"},
    "trend": {"kernel", "naming", "proc"},
    "foresight": {"kernel", "naming", "trend"},
    "record": {"naming", "proc"},
    "policy": {"kernel", "naming", "proc", "score"},
    "audit": {"kernel", "naming", "proc", "score"},
    "rightsize": {"audit", "diagnose", "naming", "proc", "report", "simulate", "trend"},
}
"""Rooms that decide: text and numbers in, values out."""

SHELLS = {
    # room: shells it may import, besides every pure room
    "data": set(),
    "sources": set(),
    "sinks": set(),
    "actions": set(),
    "pipeline": {"sources"},
    "api": {"sources", "sinks", "pipeline"},
    "daemons": {"sources", "sinks", "actions", "pipeline"},
    "web": {"sources", "sinks", "pipeline", "daemons"},
    "cli": {"api", "data", "sources", "sinks", "actions", "pipeline", "daemons", "web"},
}
"""Rooms that touch the system or wire others."""

BASE = {"_version", "_enums", "_extras", "_lazy", "_named", "_record", "_rows", "_sizes", "_state"}
"""Modules beside the rooms that know nobody and that everybody may import."""

IMPURE = {"os", "io", "pathlib", "subprocess", "socket", "time", "logging", "random", "sys", "tempfile", "threading",
          "asyncio", "multiprocessing", "shutil", "glob", "secrets", "uuid", "select", "selectors", "signal"}  # fmt: skip
"""What a pure room must not import: files, clocks, processes, the environment, chance."""

DEPENDENCIES = {
    # top-level module: rooms that may import it
    "click": {"cli"},
    "isal": {"sources"},
    "PIL": {"sinks"},
    "prometheus_client": {"sinks"},
    "pyarrow": {"sinks"},
    "yaml": {"sources"},
    "backports": {"sources"},
    "compression": {"sources"},  # standard library from 3.14 on
}

MOST_LINES = 500
LONGER: dict[str, str] = {}
"""Modules that may be longer, with the reason."""


def room(path: Path) -> str:
    """The room a module belongs to; modules beside the rooms are rooms of their own."""
    inside = path.relative_to(SRC)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


def name_of(path: Path) -> str:
    """The module's path below the package, as it stands in tables and messages."""
    return path.relative_to(SRC).as_posix()


@cache
def nodes(path: Path) -> list[ast.AST]:
    """The nodes of a module, its own first."""
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def calls(path: Path) -> Iterator[ast.Call]:
    """Every call in a module."""
    return (node for node in nodes(path) if isinstance(node, ast.Call))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that *path* imports anywhere in it, absolute, with the line."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: relative import"
            base = node.module or ""
            yield base, node.lineno
            if base == "oomsight":  # from oomsight import report
                yield from ((f"oomsight.{alias.name}", node.lineno) for alias in node.names)


def imported_room(module: str) -> str | None:
    """The room of an ``oomsight.…`` module, ``None`` for all others and for :data:`BASE`."""
    parts = module.split(".")
    if parts[0] != "oomsight" or len(parts) < 2 or parts[1] in BASE:
        return None
    return parts[1] if (SRC / parts[1]).exists() or (SRC / f"{parts[1]}.py").exists() else None


def allowed(of: str) -> set[str]:
    """Rooms that *of* may import, itself included."""
    return {of} | (PURE[of] if of in PURE else SHELLS[of] | set(PURE))


def test_every_room_has_a_row() -> None:
    rooms = {room(path) for path in MODULES} - {"__init__", "__main__"} - BASE
    assert rooms <= set(PURE) | set(SHELLS), "a new room: say in the tables above what it may import"


def test_every_room_is_described() -> None:
    text = (ROOT / "docs" / "explanation" / "house.md").read_text(encoding="utf-8")
    for name in {room(path) for path in MODULES if path.parent != SRC}:
        assert f"\n  {name}/ " in text, name


def wrong_arrows(path: Path) -> list[str]:
    """Imports that turn back up."""
    of = room(path)
    if of in {"__init__", "__main__"}:  # the front loads lazily; it names modules, not rooms
        return []
    return [
        f"{name_of(path)}:{line} imports {module}"
        for module, line in imports(path)
        if (of in BASE and module.startswith("oomsight"))
        or (of not in BASE and (target := imported_room(module)) is not None and target not in allowed(of))
    ]


def touched(path: Path) -> Iterator[str]:
    """What a pure room must not do: import what touches the system, open, ask, or look at the clock."""
    yield from (f"{name_of(path)}:{line} imports {m}" for m, line in imports(path) if m.split(".")[0] in IMPURE)
    for call in calls(path):
        if isinstance(call.func, ast.Name) and call.func.id in {"open", "input", "exec", "eval"}:
            yield f"{name_of(path)}:{call.lineno} calls {call.func.id}"
        if re.fullmatch(r"(?:\w+\.)*(?:now|utcnow|today)", ast.unparse(call.func)):
            yield f"{name_of(path)}:{call.lineno} asks the clock"


def foreign(path: Path) -> Iterator[str]:
    """Imports of packages that belong into other rooms."""
    for module, line in imports(path):
        top = module.split(".")[0]
        own = top == "oomsight" or (top in sys.stdlib_module_names and top not in DEPENDENCIES)
        if not own and room(path) not in DEPENDENCIES.get(top, set()):
            yield f"{name_of(path)}:{line} imports {module}"


def test_arrows_point_down() -> None:
    assert [wrong for path in MODULES for wrong in wrong_arrows(path)] == []


def test_pure_rooms_touch_nothing() -> None:
    assert [wrong for path in MODULES if room(path) in PURE for wrong in touched(path)] == []


def test_foreign_modules_stay_in_their_rooms() -> None:
    assert [wrong for path in MODULES for wrong in foreign(path)] == []


def test_wrong_imports_are_caught(tmp_path, monkeypatch) -> None:
    for name in ("kernel", "report"):
        (tmp_path / name).mkdir()
    module = tmp_path / "kernel" / "x.py"
    module.write_text("def f():\n    from oomsight.report import model\n    import os.path\n    import yaml\n    open(now())\n")
    monkeypatch.setattr(sys.modules[__name__], "SRC", tmp_path)
    assert wrong_arrows(module) == ["kernel/x.py:2 imports oomsight.report"]
    assert list(touched(module)) == [
        "kernel/x.py:3 imports os.path", "kernel/x.py:5 calls open", "kernel/x.py:5 asks the clock",
    ]  # fmt: skip
    assert list(foreign(module)) == ["kernel/x.py:4 imports yaml"]


# -- how a module looks -----------------------------------------------------------------------------------------------


def lines_of(path: Path) -> int:
    """How long a module is."""
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_module_is_too_long() -> None:
    """Split it, or say in LONGER why not."""
    most = {path: 700 if name_of(path) in LONGER else MOST_LINES for path in MODULES}
    assert [f"{name_of(path)}: {lines_of(path)} lines" for path in MODULES if lines_of(path) > most[path]] == []


def test_exceptions_are_still_needed() -> None:
    for name in LONGER:
        path = SRC / name
        assert path.exists(), name
        assert lines_of(path) > MOST_LINES, f"{name} fits now: remove its row"


# Methods whose meaning the language gives them, and properties that a protocol or base class describes.
_KNOWN = re.compile(r"__(?!init__)\w+__")


def _undocumented(tree: ast.Module) -> Iterator[str]:
    def walk(node: ast.AST, prefix: str, inherits: bool) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If | ast.Try):
                yield from walk(child, prefix, inherits)
            elif isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                if child.name.startswith("_"):
                    continue
                # What overrides a documented method needs no second docstring.
                if not ast.get_docstring(child) and not (inherits and not isinstance(child, ast.ClassDef)):
                    yield f"{prefix}{child.name} (line {child.lineno})"
                if isinstance(child, ast.ClassDef):
                    yield from walk(child, f"{child.name}.", bool(child.bases) or _is_source(child))

    yield from walk(tree, "", False)


def _is_source(node: ast.ClassDef) -> bool:
    """A class in the shape of a documented protocol says what it is in its own docstring."""
    return any(isinstance(child, ast.FunctionDef) and child.name in {"blocks", "eof"} for child in node.body)


def undocumented(path: Path) -> Iterator[str]:
    """What of a module has no docstring: itself, and what is public in it."""
    tree = nodes(path)[0]
    assert isinstance(tree, ast.Module)
    if not tree.body or path.stem == "_version":  # empty packages; one constant, described below it
        return
    if not ast.get_docstring(tree):
        yield f"{name_of(path)}: the module itself"
    yield from (f"{name_of(path)}: {name}" for name in _undocumented(tree))


def test_everything_public_has_a_docstring() -> None:
    assert [name for path in MODULES for name in undocumented(path)] == []


def test_only_the_command_line_prints() -> None:
    assert [
        f"{name_of(path)}:{call.lineno}"
        for path in MODULES
        if room(path) != "cli"
        for call in calls(path)
        if isinstance(call.func, ast.Name) and call.func.id == "print"
    ] == []


# Put together so that this file does not find itself.
_ELSEWHERE = re.compile("|".join(["/wo" + "rk/", r"\.lib" + "rary", "fa" + r"rm-\d", "sha" + "red/captures"]))
_LEFTOVER = re.compile(r"\b(?:" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X"]) + r")\b(?!X)")
_SKIP_DIRS = {".git", ".venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "dist", "build"}
_TEXT = {".py", ".md", ".sh", ".toml", ".txt", ".json", ".log", ".cfg", ".c", ".yaml", ".yml", ""}


def _files() -> Iterator[Path]:
    todo = [ROOT]
    while todo:
        for path in todo.pop().iterdir():
            if path.name == ".git":  # a directory, or in a worktree a file that names one
                continue
            if path.is_dir() and not path.is_symlink():
                if path.name not in _SKIP_DIRS:
                    todo.append(path)
            elif path.suffix in _TEXT and path.name not in _SKIP_DIRS:  # .git is a file in a worktree
                yield path


def test_no_file_mentions_a_workplace_or_unfinished_work() -> None:
    wrong = []
    for path in _files():
        text = path.read_text(encoding="utf-8", errors="replace")
        golden = "golden" in path.parts  # what kernels and scenarios print may hold any word
        for pattern in (_ELSEWHERE,) if golden else (_ELSEWHERE, _LEFTOVER):
            if found := pattern.search(text):
                line = text.count("\n", 0, found.start()) + 1
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {found[0]}")
    assert wrong == []
